//! What all routes answer alike: refusals with a stable code, and requests that run their rows.

use std::collections::BTreeSet;

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

/// The outputs of a request's rows, in their order, and the buckets in which they ran.
pub(super) struct Outputs {
    pub(super) values: Vec<Vec<f32>>,
    pub(super) buckets: BTreeSet<Bucket>,
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
        buckets: outputs.iter().map(|output| output.bucket).collect(),
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

/// `answer` as JSON, with the buckets in which its rows ran.
pub(super) fn json(
    answer: &impl Serialize,
    buckets: &BTreeSet<Bucket>,
) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    let buckets: Vec<String> = buckets.iter().map(ToString::to_string).collect();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (BUCKETS_HEADER, buckets.join(", ")),
    ];
    Ok((headers, body).into_response())
}
