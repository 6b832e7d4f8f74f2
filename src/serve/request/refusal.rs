//! Why a request is not answered: a stable code, and a message. Each protocol has its own form for it.

use std::time::Duration;

use crate::task::NonFinite;
use crate::task::invalid::{Invalid, InvalidCode};

/// Why a request is not answered. `docs/serve.md` describes each code.
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
    /// The code as clients, logs and metrics have it.
    pub(crate) fn name(self) -> &'static str {
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

    /// The refusal of a request whose deadline has come.
    pub(crate) fn too_late() -> Refusal {
        let message = "the deadline of the request came before its answer";
        Refusal::new(Code::DeadlineExceeded, message)
    }

    /// The refusal of a request that a server which stops does not answer any more.
    pub(crate) fn stopping() -> Refusal {
        Refusal::new(Code::Stopping, "the server is stopping")
    }

    /// The refusal of a request whose answer could not be made of its outputs.
    pub(crate) fn unanswerable(error: anyhow::Error) -> Refusal {
        if error.is::<NonFinite>() {
            return Refusal::new(Code::Numeric, error.to_string());
        }
        tracing::error!("a request could not be answered: {error:#}");
        Refusal::new(
            Code::Internal,
            "neuronc failed on this request; its log says more",
        )
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

    pub(crate) fn name(&self) -> &'static str {
        self.code.name()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The field of the request that is wrong, where it is one.
    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The time after which the request may be repeated, where that is known.
    pub(crate) fn retry_time(&self) -> Option<Duration> {
        self.retry_after
    }

    /// True where the rest of the request was not read: what else comes on its connection is not the next
    /// request.
    pub(crate) fn ends_connection(&self) -> bool {
        self.closes
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
