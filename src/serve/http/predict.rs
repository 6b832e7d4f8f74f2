//! The native protocol: requests and answers of the Hugging Face inference API.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use crate::serve::Served;
use crate::serve::http::answer::{self, Code, Refusal};
use crate::task;

/// `POST /predict/{model}`.
pub(super) async fn predict(
    State(served): State<Arc<Served>>,
    Path(model): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    answer::check_model(&served, &model)?;
    let body = answer::parse(body)?;
    let reader = Arc::clone(&served);
    let prepared = answer::off_thread(move || task::prepare(&reader.model, &body)).await??;
    let outputs = answer::run_rows(&served, prepared.rows.clone()).await?;
    let answer = prepared
        .answer(outputs)
        .map_err(|error| answer::unanswerable(&error))?;
    let body = serde_json::to_vec(&answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    Ok(answer::json_bytes(body).into_response())
}
