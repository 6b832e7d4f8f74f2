//! The native protocol: requests and answers of the Hugging Face inference API, at its own route, at
//! the root, and as SageMaker asks.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::serve::core::models::Use;
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task;

/// With it a client of a SageMaker endpoint says which model it means.
const TARGET_MODEL: &str = "x-amzn-sagemaker-target-model";

/// `POST /predict/{model}`.
pub(super) async fn predict(
    State(view): State<ServerView>,
    model: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<Response, Refusal> {
    // A name that is not UTF-8 is that of no model.
    let model = view.find_model(model.as_deref().map_or("", String::as_str))?;
    run(&view, model, body).await
}

/// `POST /`, as clients do that know only an address: the first model.
pub(super) async fn root(
    State(view): State<ServerView>,
    body: RequestBody,
) -> Result<Response, Refusal> {
    let model = view.default_model(|_| true)?;
    run(&view, model, body).await
}

/// `POST /invocations`: the model that the header names, the first one without.
pub(super) async fn invocations(
    State(view): State<ServerView>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Refusal> {
    let model = match headers.get(TARGET_MODEL) {
        Some(name) => view.find_model(name.to_str().unwrap_or_default())?,
        None => view.default_model(|_| true)?,
    };
    run(&view, model, body).await
}

/// `GET /ping`: 200 while a request would be answered.
pub(super) async fn ping(State(view): State<ServerView>) -> Result<StatusCode, Refusal> {
    view.check_ready()?;
    Ok(StatusCode::OK)
}

async fn run(view: &ServerView, model: Use, body: RequestBody) -> Result<Response, Refusal> {
    let body = body.bytes()?;
    let prepare = move |model: &task::TaskModel| -> Result<task::Prepared, Refusal> {
        Ok(task::prepare(model, &json::parse_any(&body)?)?)
    };
    let mut prepared = run::prepare(&model, prepare).await?;
    let rows = std::mem::take(&mut prepared.value.rows);
    let outputs = run::run_rows(view, &model, rows, prepared.took).await?;
    let write = move |outputs: Outputs| {
        let answer = prepared.value.answer(outputs.values);
        let answer = answer.map_err(|error| Refusal::unanswerable(&error))?;
        json::write(&answer, &outputs.summary)
    };
    run::answer(outputs.size(), move || write(outputs)).await
}
