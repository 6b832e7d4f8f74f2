//! The native protocol: requests and answers of the Hugging Face inference API.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;

use crate::serve::Entrance;
use crate::serve::http::answer::{self, Refusal};
use crate::task;

/// `POST /predict/{model}`.
pub(super) async fn predict(
    State(entrance): State<Entrance>,
    model: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    // A name that is not UTF-8 is that of no model.
    let model = answer::find_model(&entrance, model.as_deref().map_or("", String::as_str))?;
    let bytes = body.as_ref().map_or(0, Bytes::len);
    let body = answer::parse(&entrance.served, body)?;
    let reader = Arc::clone(&entrance.served);
    let prepare = move || task::prepare(&reader.models[model].model, &body);
    let mut prepared = answer::prepare(bytes, prepare).await??;
    let rows = std::mem::take(&mut prepared.rows);
    let outputs = answer::run_rows(&entrance, model, rows).await?;
    let answer = prepared
        .answer(outputs.values)
        .map_err(|error| answer::unanswerable(&error))?;
    answer::json(&answer, &outputs.buckets)
}
