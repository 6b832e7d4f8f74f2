//! JSON: the bodies of requests, and answers with the headers that say where their rows ran.

use std::collections::BTreeSet;

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;

use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::RunSummary;
use crate::task::invalid::{Invalid, InvalidCode};

/// Names the model that answered: an alias stands for several.
const MODEL_HEADER: HeaderName = HeaderName::from_static("x-neuronc-model");

/// Names the buckets in which a request's rows ran, such as `1x32, 8x128`.
const BUCKETS_HEADER: HeaderName = HeaderName::from_static("x-neuronc-buckets");

/// Names the cores of the workers that ran them, such as `0, 1`; a worker with several has `0-3`.
const CORES_HEADER: HeaderName = HeaderName::from_static("x-neuronc-cores");

/// No more characters of what serde says are repeated.
const MESSAGE_MAX: usize = 300;

/// Parses a body as JSON of any shape; the refusal says where it is malformed, and why.
pub(super) fn parse_any(body: &[u8]) -> Result<Value, Refusal> {
    read(body)
}

/// Parses a body as an object of the shape of `T`; JSON of another shape is refused as `WrongType`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let begin = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begin == Some(&b'[') {
        // serde would take a list of the values of the fields.
        read::<IgnoredAny>(body)?;
        let message = "the body is a list, and not an object";
        return Err(Invalid::new(InvalidCode::WrongType, "", message).into());
    }
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => {
            // It may quote a value of the request.
            let message: String = error.to_string().chars().take(MESSAGE_MAX).collect();
            Invalid::new(InvalidCode::WrongType, "", message).into()
        }
        _ => Refusal::new(
            Code::MalformedJson,
            format!("the body is not JSON: {error}"),
        ),
    })
}

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// `answer` as JSON, with where its rows summary.
pub(super) fn write(answer: &impl Serialize, summary: &RunSummary) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (MODEL_HEADER, summary.model.to_string()),
        (BUCKETS_HEADER, join(&summary.buckets)),
        (CORES_HEADER, join(&summary.cores)),
    ];
    Ok((headers, body).into_response())
}
