//! The OpenAI protocol: `POST /v1/embeddings`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::failure::known_names;
use crate::serve::Entrance;
use crate::serve::http::answer::{self, Refusal};
use crate::task::OneOrMany;
use crate::task::feature_extraction::{self, Options};
use crate::task::invalid::{Invalid, InvalidCode};

/// The fields of a request that OpenAI's clients send.
const FIELDS: [&str; 5] = ["input", "model", "encoding_format", "dimensions", "user"];

/// No more characters of an unknown name are repeated in a message.
const SHOWN_NAME_MAX: usize = 40;

struct EmbeddingsRequest {
    input: OneOrMany<String>,
    model: String,
    encoding_format: Encoding,
    /// Keeps the first so many values of each vector, scaled to length 1 again.
    dimensions: Option<usize>,
}

/// How a vector is written.
#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

#[derive(Serialize)]
struct EmbeddingsAnswer<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// Tokens, special ones included.
#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// A refusal in OpenAI's form.
pub(super) struct OpenAiRefusal(Refusal);

impl<T: Into<Refusal>> From<T> for OpenAiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for OpenAiRefusal {
    fn into_response(self) -> Response {
        let kind = match self.0.status().is_client_error() {
            true => "invalid_request_error",
            false => "server_error",
        };
        let body = json!({"error": {
            "message": self.0.message(),
            "type": kind,
            "param": self.0.field(),
            "code": self.0.name(),
        }});
        answer::with_headers(&self.0, Json(body).into_response())
    }
}

/// `POST /v1/embeddings`.
pub(super) async fn embeddings(
    State(entrance): State<Entrance>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, OpenAiRefusal> {
    let bytes = body.as_ref().map_or(0, Bytes::len);
    let request = EmbeddingsRequest::read(answer::parse(&entrance.served, body)?)?;
    let model = answer::find_model(&entrance, &request.model)?;
    let reader = Arc::clone(&entrance.served);
    let input = request.input;
    let prepare = move || {
        let model = &reader.models[model].model;
        feature_extraction::embeddings(model, &input, "input", Options::STANDARD)
    };
    let mut prepared = answer::prepare(bytes, prepare).await??;
    let tokens = prepared.tokens();
    let rows = std::mem::take(&mut prepared.rows);
    let outputs = answer::run_rows(&entrance, model, rows).await?;
    let vectors = prepared
        .vectors(outputs.values)
        .map_err(|error| answer::unanswerable(&error))?;
    let mut data = Vec::with_capacity(vectors.len());
    for (index, vector) in vectors.into_iter().enumerate() {
        let vector = shorten(vector, request.dimensions)?;
        data.push(Embedding {
            object: "embedding",
            index,
            embedding: encode(vector, request.encoding_format),
        });
    }
    let answer = EmbeddingsAnswer {
        object: "list",
        data,
        model: &entrance.served.models[model].name,
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
        },
    };
    Ok(answer::json(&answer, &outputs.buckets)?)
}

impl EmbeddingsRequest {
    fn read(body: Value) -> Result<Self, Invalid> {
        let Value::Object(mut fields) = body else {
            let message = "the body must be an object";
            return Err(Invalid::new(InvalidCode::WrongType, "", message));
        };
        if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let name: String = name.chars().take(SHOWN_NAME_MAX).collect();
            let known = known_names(&name, FIELDS);
            let message = format!("an embeddings request has no field `{name}`: {known}");
            return Err(Invalid::new(InvalidCode::UnknownField, &name, message));
        }
        // An id of the caller's user; of no use here.
        let _: Option<String> = take(&mut fields, "user", "a string")?;
        Ok(Self {
            input: required(&mut fields, "input", "a string or a list of strings")?,
            model: required(&mut fields, "model", "a string")?,
            encoding_format: take(&mut fields, "encoding_format", "`float` or `base64`")?
                .unwrap_or_default(),
            dimensions: take(&mut fields, "dimensions", "a whole number")?,
        })
    }
}

/// The field `name`, unless it is absent or null.
fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, Invalid> {
    let value = fields.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|_| {
        let message = format!("`{name}` must be {expected}");
        Invalid::new(InvalidCode::WrongType, name, message)
    })
}

fn required<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<T, Invalid> {
    take(fields, name, expected)?.ok_or_else(|| {
        let message = format!("`{name}` is missing: it is {expected}");
        Invalid::new(InvalidCode::MissingField, name, message)
    })
}

fn shorten(mut vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>, Refusal> {
    let Some(dimensions) = dimensions else {
        return Ok(vector);
    };
    if dimensions == 0 || dimensions > vector.len() {
        let message = format!(
            "`dimensions` is {dimensions}, and vectors of this model have {}",
            vector.len()
        );
        return Err(Invalid::new(InvalidCode::BadParameter, "dimensions", message).into());
    }
    vector.truncate(dimensions);
    feature_extraction::scale_to_length_1(&mut vector);
    Ok(vector)
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}
