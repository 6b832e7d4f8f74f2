//! Refusals in the form of Text Embeddings Inference.

use axum::Json;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::http::error;
use crate::serve::request::refusal::{Code, Refusal};
use crate::task::invalid::InvalidCode;

pub(super) type TeiResult = Result<Response, TeiRefusal>;

/// A refusal in the form of Text Embeddings Inference.
pub(super) struct TeiRefusal(pub(super) Refusal);

impl<T: Into<Refusal>> From<T> for TeiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TeiError")]
pub(super) struct TeiError<'a> {
    error: &'a str,
    error_type: ErrorType,
}

/// The part of Text Embeddings Inference that would refuse it.
#[derive(Serialize, JsonSchema)]
enum ErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Tokenizer,
    Empty,
}

impl IntoResponse for TeiRefusal {
    fn into_response(self) -> Response {
        let (status, error_type) = match self.0.code() {
            Code::Invalid(InvalidCode::Empty) => (400, ErrorType::Empty),
            Code::Invalid(InvalidCode::TooMany | InvalidCode::TooLong) => {
                (413, ErrorType::Validation)
            }
            Code::Invalid(InvalidCode::WrongTask) => (424, ErrorType::Backend),
            Code::Invalid(InvalidCode::Untokenizable) => (422, ErrorType::Tokenizer),
            Code::Numeric | Code::WorkerDied | Code::Internal => (424, ErrorType::Backend),
            Code::QueueFull | Code::KeyLimit => (429, ErrorType::Overloaded),
            Code::DeadlineExceeded => (504, ErrorType::Overloaded),
            Code::TooManyBytes => (503, ErrorType::Overloaded),
            Code::NotReady | Code::Stopping => (503, ErrorType::Unhealthy),
            other => (error::status(other).as_u16(), ErrorType::Validation),
        };
        let body = TeiError {
            error: self.0.message(),
            error_type,
        };
        error::with_status(&self.0, status, Json(body).into_response())
    }
}

/// The refusal of a request whose answer is of another kind than its route gives.
pub(super) fn unexpected() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the answer is of another kind than the route",
    )
}
