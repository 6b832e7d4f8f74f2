//! Refusals over HTTP: the status of each code, the headers that every form has, and the native form.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::request::refusal::{Code, Refusal};

/// Nobody is told to come again later than this.
const RETRY_SECONDS_MAX: f64 = 3600.0;

/// The status of a code. Some protocols have one of their own for some codes.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::MalformedJson | Code::BadHeader | Code::Unsupported => StatusCode::BAD_REQUEST,
        Code::Invalid(_) | Code::Quarantined => StatusCode::UNPROCESSABLE_ENTITY,
        Code::InvalidApiKey => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
        Code::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::UnknownModel | Code::UnknownRoute => StatusCode::NOT_FOUND,
        Code::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
        Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::QueueFull | Code::KeyLimit => StatusCode::TOO_MANY_REQUESTS,
        Code::NotReady | Code::Stopping | Code::TooManyBytes => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Numeric | Code::WorkerDied | Code::ChangeFailed | Code::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The code of a refusal, in the extensions of its response, for those who count and trace refusals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reason(pub(super) &'static str);

/// The body of every refusal of the native routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct NativeError<'a> {
    code: &'static str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = NativeError {
            code: self.name(),
            error: self.message(),
            field: self.field(),
        };
        with_headers(&self, Json(body).into_response())
    }
}

/// Gives a response the status and the headers that every form of a refusal has.
pub(super) fn with_headers(refusal: &Refusal, response: Response) -> Response {
    with_status(refusal, status(refusal.code()).as_u16(), response)
}

/// The same, where the protocol has a status of its own for the code.
pub(super) fn with_status(refusal: &Refusal, own: u16, mut response: Response) -> Response {
    *response.status_mut() = StatusCode::from_u16(own).unwrap_or(status(refusal.code()));
    response.extensions_mut().insert(Reason(refusal.name()));
    if refusal.ends_connection() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if refusal.retry_time().is_some() || refusal.code() == Code::QueueFull {
        let time = refusal.retry_time().unwrap_or_default();
        // Whole seconds are all that the header has.
        let seconds = time.as_secs_f64().ceil().clamp(1.0, RETRY_SECONDS_MAX) as u64;
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
