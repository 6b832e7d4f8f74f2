//! What all routes answer alike: refusals with a stable code, and requests that run their rows.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::bucket::Row;
use crate::serve::Served;
use crate::serve::queue::{Refused, RowError};
use crate::task::NonFinite;
use crate::task::invalid::Invalid;

/// Why a request is not answered; each code has one status. Documented in `docs/serve.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    MalformedJson,
    /// The request is JSON, but not one this route takes.
    Invalid,
    UnknownModel,
    UnknownRoute,
    WrongMethod,
    BodyTooLarge,
    QueueFull,
    Stopping,
    DeadlineExceeded,
    /// The model answered with a value that is not a number.
    Numeric,
    WorkerDied,
    Internal,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::MalformedJson => StatusCode::BAD_REQUEST,
            Code::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Code::UnknownModel | Code::UnknownRoute => StatusCode::NOT_FOUND,
            Code::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Code::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            Code::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::Numeric | Code::WorkerDied | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Code::MalformedJson => "malformed_json",
            Code::Invalid => "invalid",
            Code::UnknownModel => "unknown_model",
            Code::UnknownRoute => "unknown_route",
            Code::WrongMethod => "wrong_method",
            Code::BodyTooLarge => "body_too_large",
            Code::QueueFull => "queue_full",
            Code::Stopping => "stopping",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::Numeric => "numeric",
            Code::WorkerDied => "worker_died",
            Code::Internal => "internal",
        }
    }
}

/// A request that is not answered, as its client sees it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    code: Code,
    /// A finer name than the code's, where there is one.
    detail: Option<&'static str>,
    field: Option<String>,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            detail: None,
            field: None,
            message: message.into(),
        }
    }

    /// Adds what the client can do.
    pub(super) fn help(mut self, help: &str) -> Self {
        self.message = format!("{}; {help}", self.message);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.code.status()
    }

    pub(super) fn name(&self) -> &'static str {
        self.detail.unwrap_or_else(|| self.code.name())
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self {
            code: Code::Invalid,
            detail: Some(invalid.code.name()),
            field: invalid.field,
            message: invalid.message,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"code": self.name(), "error": self.message()});
        if let Some(field) = self.field() {
            body["field"] = Value::from(field);
        }
        with_headers(&self, Json(body).into_response())
    }
}

/// The status and the headers that every form of a refusal has.
pub(super) fn with_headers(refusal: &Refusal, mut response: Response) -> Response {
    *response.status_mut() = refusal.status();
    if refusal.code == Code::QueueFull {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A body as JSON; the error says where it is malformed, and why.
pub(super) fn parse(
    body: Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Value, Refusal> {
    let body = body.map_err(|rejection| {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
            _ => Code::MalformedJson,
        };
        Refusal::new(code, rejection.body_text())
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(
            Code::MalformedJson,
            format!("the body is not JSON: {error}"),
        )
    })
}

/// Runs `work` where it may take its time: off the threads that serve connections.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!("a request panicked: {error}");
        Refusal::new(
            Code::Internal,
            "neuronc failed on this request; its log says more",
        )
    })
}

/// The outputs of `rows`, in their order, within the deadline of a request.
pub(super) async fn run_rows(
    served: &Arc<Served>,
    rows: Vec<Row>,
) -> Result<Vec<Vec<f32>>, Refusal> {
    let receivers = served.queue.submit(rows).map_err(|refused| match refused {
        Refused::Full => Refusal::new(
            Code::QueueFull,
            format!("{} rows are waiting already", served.limits.queue_rows),
        )
        .help("try again after the time in `Retry-After`"),
        Refused::Closed => Refusal::new(Code::Stopping, "the server is stopping"),
    })?;
    let outputs = tokio::time::timeout(
        served.limits.request,
        futures::future::try_join_all(receivers),
    );
    let limit = served.limits.request;
    let outputs = outputs
        .await
        .map_err(|_| {
            Refusal::new(
                Code::DeadlineExceeded,
                format!("no answer within {limit:?}"),
            )
        })?
        .map_err(|_| Refusal::new(Code::Stopping, "the server is stopping"))?;
    outputs
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| match error {
            RowError::Failed(_) => Refusal::new(
                Code::Internal,
                "the model could not be run; the log says why",
            ),
            RowError::WorkerDied => {
                Refusal::new(Code::WorkerDied, "the workers that ran this request died")
            }
            RowError::Closed => Refusal::new(Code::Stopping, "the server is stopping"),
        })
}

/// Refuses a request for a model that is not served, with the name of the one that is.
pub(super) fn check_model(served: &Served, model: &str) -> Result<(), Refusal> {
    match model == served.name {
        true => Ok(()),
        false => Err(
            Refusal::new(Code::UnknownModel, "there is no model of that name")
                .help(&format!("served: `{}`", served.name)),
        ),
    }
}

/// An answer that could not be made from the outputs.
pub(super) fn unanswerable(error: &anyhow::Error) -> Refusal {
    if error.is::<NonFinite>() {
        return Refusal::new(Code::Numeric, error.to_string());
    }
    tracing::error!("a request could not be answered: {error:#}");
    Refusal::new(
        Code::Internal,
        "neuronc failed on this request; its log says more",
    )
}

/// JSON that is already written.
pub(super) fn json_bytes(body: Vec<u8>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body)
}
