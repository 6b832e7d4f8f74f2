//! What all routes answer alike: refusals with a stable code, and requests that run their rows.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bucket::{Bucket, Row};
use crate::failure::name_list;
use crate::serve::queue::{Address, Refused, RowError, RowOutput};
use crate::serve::{Entrance, Served};
use crate::task::NonFinite;
use crate::task::invalid::{Invalid, InvalidCode};

/// Names the buckets in which a request's rows ran, such as `1x32, 8x128`.
const BUCKETS_HEADER: HeaderName = HeaderName::from_static("x-neuronc-buckets");

/// Names the cores of the workers that ran them, such as `0, 1`; a worker with several has `0-3`.
const CORES_HEADER: HeaderName = HeaderName::from_static("x-neuronc-cores");

/// Why a request is not answered; each code has one status. Documented in `docs/serve.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    MalformedJson,
    /// The request is JSON, but not one this route takes.
    Invalid(InvalidCode),
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
            Code::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
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
            Code::Invalid(code) => code.name(),
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
    field: Option<String>,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
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
        self.code.name()
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
            code: Code::Invalid(invalid.code),
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
    served: &Served,
    body: Result<Bytes, BytesRejection>,
) -> Result<Value, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let limit = served.limits.body_bytes;
            Refusal::new(
                Code::BodyTooLarge,
                format!("the body has more than {limit} bytes"),
            )
            .help("send fewer inputs at a time")
        }
        _ => Refusal::new(Code::MalformedJson, rejection.body_text()),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        Refusal::new(
            Code::MalformedJson,
            format!("the body is not JSON: {error}"),
        )
    })
}

/// Bodies up to this size are read where they arrive: that takes less than a millisecond, and handing one
/// to another thread and back costs the processors more than it saves.
const AT_ONCE_BYTES_MAX: usize = 4 << 10;

/// Runs `work` on a body of so many bytes: at once, or off the threads that serve connections.
pub(super) async fn prepare<T: Send + 'static>(
    body_bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if body_bytes > AT_ONCE_BYTES_MAX {
        return off_thread(work).await;
    }
    // As a thread of its own would, so that a panic is answered.
    std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| panicked("see the log above"))
}

fn panicked(why: &str) -> Refusal {
    tracing::error!("a request panicked: {why}");
    Refusal::new(
        Code::Internal,
        "neuronc failed on this request; its log says more",
    )
}

/// Runs `work` where it may take its time: off the threads that serve connections.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| panicked(&error.to_string()))
}

/// The outputs of a request's rows, in their order, and the buckets in which they ran.
pub(super) struct Outputs {
    pub(super) values: Vec<Vec<f32>>,
    pub(super) buckets: Ran,
}

/// Where a request's rows ran.
#[derive(Debug, Default)]
pub(super) struct Ran {
    buckets: BTreeSet<Bucket>,
    cores: BTreeSet<Arc<str>>,
}

impl Ran {
    fn of(outputs: &[RowOutput]) -> Self {
        Self {
            buckets: outputs.iter().map(|output| output.bucket).collect(),
            cores: outputs
                .iter()
                .map(|output| Arc::clone(&output.core))
                .collect(),
        }
    }
}

/// The outputs of `rows` within the deadline of a request.
pub(super) async fn run_rows(
    entrance: &Entrance,
    model: usize,
    rows: Vec<Row>,
) -> Result<Outputs, Refusal> {
    let served = &entrance.served;
    let worker = entrance.worker;
    let address = Address { model, worker };
    let receivers = served
        .queue
        .submit(address, rows)
        .map_err(|refused| match refused {
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
    let outputs: Vec<RowOutput> = outputs
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(refused)?;
    Ok(Outputs {
        buckets: Ran::of(&outputs),
        values: outputs.into_iter().map(|output| output.values).collect(),
    })
}

fn refused(error: RowError) -> Refusal {
    match error {
        RowError::Failed(_) => Refusal::new(
            Code::Internal,
            "the model could not be run; the log says why",
        ),
        RowError::WorkerDied => {
            Refusal::new(Code::WorkerDied, "the workers that ran this request died")
        }
        RowError::Closed => Refusal::new(Code::Stopping, "the server is stopping"),
    }
}

/// The model of that name; one that is not served here is refused with the names of those that are.
pub(super) fn find_model(entrance: &Entrance, asked: &str) -> Result<usize, Refusal> {
    let name = |model: usize| entrance.served.models[model].name.as_str();
    let found = entrance.models().find(|model| name(*model) == asked);
    found.ok_or_else(|| {
        let names = name_list(entrance.models().map(name));
        Refusal::new(Code::UnknownModel, "there is no model of that name")
            .help(&format!("served: {names}"))
    })
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

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// `answer` as JSON, with the buckets in which its rows ran.
pub(super) fn json(answer: &impl Serialize, ran: &Ran) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (BUCKETS_HEADER, join(&ran.buckets)),
        (CORES_HEADER, join(&ran.cores)),
    ];
    Ok((headers, body).into_response())
}
