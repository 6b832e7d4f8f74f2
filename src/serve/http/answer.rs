//! What all routes answer alike: refusals with a stable code, and answers as JSON.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use serde_json::error::Category;

use crate::bucket::Bucket;
use crate::serve::core::job::RowOutput;
use crate::task::NonFinite;
use crate::task::invalid::{Invalid, InvalidCode};

/// Names the model that answered: an alias stands for several.
const MODEL_HEADER: HeaderName = HeaderName::from_static("x-neuronc-model");

/// Names the buckets in which a request's rows ran, such as `1x32, 8x128`.
const BUCKETS_HEADER: HeaderName = HeaderName::from_static("x-neuronc-buckets");

/// Names the cores of the workers that ran them, such as `0, 1`; a worker with several has `0-3`.
const CORES_HEADER: HeaderName = HeaderName::from_static("x-neuronc-cores");

/// Nobody is told to come again later than that.
const RETRY_SECONDS_MAX: f64 = 3600.0;

/// No more characters of what serde says are repeated.
const MESSAGE_MAX: usize = 300;

/// Why a request is not answered; each code has one status. Documented in `docs/serve.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    MalformedJson,
    /// The request is JSON, but not one this route takes.
    Invalid(InvalidCode),
    /// A header that cannot be read.
    BadHeader,
    /// No API key, or one that is not known.
    InvalidApiKey,
    /// The key is not for this.
    Forbidden,
    /// The key has a limit of its own.
    KeyLimit,
    /// The body did not come in time.
    BodyTooSlow,
    /// The body is compressed.
    UnsupportedEncoding,
    /// What is asked for cannot be done while the server runs.
    Unsupported,
    UnknownModel,
    UnknownRoute,
    /// A change would break what is served.
    Conflict,
    /// A change was tried and taken back.
    ChangeFailed,
    WrongMethod,
    BodyTooLarge,
    /// There is no room for its body.
    TooManyBytes,
    QueueFull,
    /// A model has no core that is ready.
    NotReady,
    Stopping,
    /// A row of it ended workers a short time ago.
    Quarantined,
    DeadlineExceeded,
    /// The model answered with a value that is not a number.
    Numeric,
    WorkerDied,
    Internal,
}

impl Code {
    pub(crate) fn status(self) -> StatusCode {
        match self {
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

    fn name(self) -> &'static str {
        match self {
            Code::MalformedJson => "malformed_json",
            Code::Invalid(code) => code.name(),
            Code::BadHeader => "bad_header",
            Code::InvalidApiKey => "invalid_api_key",
            Code::Forbidden => "forbidden",
            Code::KeyLimit => "key_limit",
            Code::BodyTooSlow => "body_too_slow",
            Code::UnsupportedEncoding => "unsupported_encoding",
            Code::Unsupported => "unsupported",
            Code::UnknownModel => "unknown_model",
            Code::UnknownRoute => "unknown_route",
            Code::Conflict => "conflict",
            Code::ChangeFailed => "change_failed",
            Code::WrongMethod => "wrong_method",
            Code::BodyTooLarge => "body_too_large",
            Code::TooManyBytes => "too_many_bytes",
            Code::QueueFull => "queue_full",
            Code::NotReady => "not_ready",
            Code::Stopping => "stopping",
            Code::Quarantined => "quarantined",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::Numeric => "numeric",
            Code::WorkerDied => "worker_died",
            Code::Internal => "internal",
        }
    }
}

/// A request that is not answered, as its client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    code: Code,
    field: Option<String>,
    message: String,
    retry_after: Option<Duration>,
    /// What else comes on the connection is not the next request.
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            field: None,
            message: message.into(),
            retry_after: None,
            closes: false,
        }
    }

    /// Adds what the client can do.
    pub(crate) fn help(mut self, help: &str) -> Self {
        self.message = format!("{}; {help}", self.message);
        self
    }

    /// Adds when to come again, where that is known.
    pub(crate) fn retry_after(mut self, time: Option<Duration>) -> Self {
        self.retry_after = time;
        self
    }

    /// Adds that the connection ends with the answer: the rest of the request was not read.
    pub(crate) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.code.name()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self {
            code: Code::Invalid(invalid.code),
            field: invalid.field,
            message: invalid.message,
            retry_after: None,
            closes: false,
        }
    }
}

/// The code of a refusal, on its response: for what counts them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) &'static str);

/// Every refusal of the native routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(crate) struct ErrorAnswer<'a> {
    code: &'static str,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorAnswer {
            code: self.name(),
            error: self.message(),
            field: self.field(),
        };
        with_headers(&self, Json(body).into_response())
    }
}

/// The status and the headers that every form of a refusal has.
pub(crate) fn with_headers(refusal: &Refusal, response: Response) -> Response {
    with_status(refusal, refusal.status().as_u16(), response)
}

/// The same where the protocol has a status of its own for it.
pub(crate) fn with_status(refusal: &Refusal, status: u16, mut response: Response) -> Response {
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(refusal.status());
    response.extensions_mut().insert(Reason(refusal.name()));
    if refusal.closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if refusal.retry_after.is_some() || refusal.code == Code::QueueFull {
        let time = refusal.retry_after.unwrap_or_default();
        // Whole seconds are all that the header has.
        let seconds = time.as_secs_f64().ceil().clamp(1.0, RETRY_SECONDS_MAX) as u64;
        let value = HeaderValue::from(seconds);
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// A body as JSON of any shape; the error says where it is malformed, and why.
pub(crate) fn any_json(body: &[u8]) -> Result<Value, Refusal> {
    read(body)
}

/// The same of an object of that shape. JSON of another shape is `WrongType`.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let begin = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begin == Some(&b'[') {
        // serde would take a list of the values of the fields.
        read::<IgnoredAny>(body)?;
        let message = "the body is a list, and not an object";
        return Err(Invalid::new(InvalidCode::WrongType, "", message).into());
    }
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => {
            // It may quote a value of the request.
            let message: String = error.to_string().chars().take(MESSAGE_MAX).collect();
            Invalid::new(InvalidCode::WrongType, "", message).into()
        }
        _ => Refusal::new(
            Code::MalformedJson,
            format!("the body is not JSON: {error}"),
        ),
    })
}

/// An answer that could not be made from the outputs.
pub(crate) fn unanswerable(error: &anyhow::Error) -> Refusal {
    if error.is::<NonFinite>() {
        return Refusal::new(Code::Numeric, error.to_string());
    }
    tracing::error!("a request could not be answered: {error:#}");
    Refusal::new(
        Code::Internal,
        "neuronc failed on this request; its log says more",
    )
}

/// Where a request's rows ran.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    model: Arc<str>,
    buckets: BTreeSet<Bucket>,
    cores: BTreeSet<Arc<str>>,
}

impl Ran {
    pub(crate) fn of(model: &Arc<str>, outputs: &[RowOutput]) -> Self {
        Self {
            model: Arc::clone(model),
            buckets: outputs.iter().map(|output| output.bucket).collect(),
            cores: outputs
                .iter()
                .map(|output| Arc::clone(&output.core))
                .collect(),
        }
    }
}

fn join<T: ToString>(items: &BTreeSet<T>) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// `answer` as JSON, with where its rows ran.
pub(crate) fn json(answer: &impl Serialize, ran: &Ran) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(answer)
        .map_err(|_| Refusal::new(Code::Internal, "the answer cannot be written as JSON"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (MODEL_HEADER, ran.model.to_string()),
        (BUCKETS_HEADER, join(&ran.buckets)),
        (CORES_HEADER, join(&ran.cores)),
    ];
    Ok((headers, body).into_response())
}
