//! The native protocol: requests and answers of the Hugging Face inference API, at its own route, at
//! the root, and as SageMaker asks.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::serve::Entrance;
use crate::serve::core::models::Use;
use crate::serve::http::answer::{self, Refusal};
use crate::serve::http::body::Sent;
use crate::serve::request::run::{self, Outputs};
use crate::task;

/// With it a client of a SageMaker endpoint says which model it means.
const TARGET_MODEL: &str = "x-amzn-sagemaker-target-model";

/// `POST /predict/{model}`.
pub(super) async fn predict(
    State(entrance): State<Entrance>,
    model: Result<Path<String>, PathRejection>,
    body: Sent,
) -> Result<Response, Refusal> {
    // A name that is not UTF-8 is that of no model.
    let model = run::find_model(&entrance, model.as_deref().map_or("", String::as_str))?;
    run(&entrance, model, body).await
}

/// `POST /`, as clients do that know only an address: the first model.
pub(super) async fn root(
    State(entrance): State<Entrance>,
    body: Sent,
) -> Result<Response, Refusal> {
    let model = run::default_model(&entrance, |_| true)?;
    run(&entrance, model, body).await
}

/// `POST /invocations`: the model that the header names, the first one without.
pub(super) async fn invocations(
    State(entrance): State<Entrance>,
    headers: HeaderMap,
    body: Sent,
) -> Result<Response, Refusal> {
    let model = match headers.get(TARGET_MODEL) {
        Some(name) => run::find_model(&entrance, name.to_str().unwrap_or_default())?,
        None => run::default_model(&entrance, |_| true)?,
    };
    run(&entrance, model, body).await
}

/// `GET /ping`: 200 while a request would be answered.
pub(super) async fn ping(State(entrance): State<Entrance>) -> Result<StatusCode, Refusal> {
    run::check_ready(&entrance)?;
    Ok(StatusCode::OK)
}

async fn run(entrance: &Entrance, model: Use, body: Sent) -> Result<Response, Refusal> {
    let body = body.bytes()?;
    let prepare = move |model: &task::TaskModel| -> Result<task::Prepared, Refusal> {
        Ok(task::prepare(model, &answer::any_json(&body)?)?)
    };
    let mut prepared = run::prepare(&model, prepare).await?;
    let rows = std::mem::take(&mut prepared.value.rows);
    let outputs = run::run_rows(entrance, &model, rows, prepared.took).await?;
    let write = move |outputs: Outputs| {
        let answer = prepared.value.answer(outputs.values);
        let answer = answer.map_err(|error| answer::unanswerable(&error))?;
        answer::json(&answer, &outputs.ran)
    };
    run::answer(outputs.size(), move || write(outputs)).await
}
