//! Refusals in the form of the Open Inference Protocol.

use axum::Json;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::http::error;
use crate::serve::request::refusal::{Code, Refusal};

pub(super) type KserveResult = Result<Response, KserveRefusal>;

/// A refusal in the form of the protocol.
pub(super) struct KserveRefusal(pub(super) Refusal);

impl<T: Into<Refusal>> From<T> for KserveRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KserveError")]
pub(super) struct KserveError<'a> {
    error: &'a str,
}

impl IntoResponse for KserveRefusal {
    fn into_response(self) -> Response {
        let status = match self.0.code() {
            // The protocol has one status for what is wrong with a request.
            Code::Invalid(_) => 400,
            other => error::status(other).as_u16(),
        };
        let body = KserveError {
            error: self.0.message(),
        };
        error::with_status(&self.0, status, Json(body).into_response())
    }
}
