//! The native protocol: requests and answers of the Hugging Face inference API.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;

use crate::serve::Served;
use crate::serve::http::answer::{self, Refusal};
use crate::task;

/// `POST /predict/{model}`.
pub(super) async fn predict(
    State(served): State<Arc<Served>>,
    model: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    // A name that is not UTF-8 is that of no model.
    answer::check_model(&served, model.as_deref().map_or("", String::as_str))?;
    let body = answer::parse(&served, body)?;
    let reader = Arc::clone(&served);
    let mut prepared = answer::off_thread(move || task::prepare(&reader.model, &body)).await??;
    let rows = std::mem::take(&mut prepared.rows);
    let outputs = answer::run_rows(&served, rows).await?;
    let answer = prepared
        .answer(outputs.values)
        .map_err(|error| answer::unanswerable(&error))?;
    answer::json(&answer, &outputs.buckets)
}
