//! What a [`super::HubServer`] can be made to do wrong.

use super::Request;

/// Something that goes wrong, for which requests, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: Kind,
    on: String,
    left: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Status(u16, Option<&'static str>),
    RetryAfter(u64),
    Cut(usize),
    Stall(usize),
    IgnoreRange,
    WrongContent,
    WrongLength,
    Html,
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            on: String::new(),
            left: usize::MAX,
        }
    }

    /// Answers with a status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self::new(Kind::Status(status, None))
    }

    /// Answers with a status and the Hub's word for it, like `GatedRepo`.
    pub(crate) fn refusal(status: u16, code: &'static str) -> Self {
        Self::new(Kind::Status(status, Some(code)))
    }

    /// Answers 429 and asks to wait so many seconds.
    pub(crate) fn too_many_requests(retry_after: u64) -> Self {
        Self::new(Kind::RetryAfter(retry_after))
    }

    /// Closes the connection after so many bytes of the content.
    pub(crate) fn cut_after(bytes: usize) -> Self {
        Self::new(Kind::Cut(bytes))
    }

    /// Sends so many bytes of the content, and then nothing while keeping the connection open.
    pub(crate) fn stall_after(bytes: usize) -> Self {
        Self::new(Kind::Stall(bytes))
    }

    /// Sends the whole content where a part was asked for.
    pub(crate) fn ignore_range() -> Self {
        Self::new(Kind::IgnoreRange)
    }

    /// Sends other content of the same length.
    pub(crate) fn wrong_content() -> Self {
        Self::new(Kind::WrongContent)
    }

    /// Sends, and announces, a byte more than there is.
    pub(crate) fn wrong_length() -> Self {
        Self::new(Kind::WrongLength)
    }

    /// Answers with a web page, as a login portal does.
    pub(crate) fn web_page() -> Self {
        Self::new(Kind::Html)
    }

    /// Only for requests whose path contains `part`: `/model.safetensors`, `/revision/`, `/tree/`.
    #[must_use]
    pub(crate) fn on(mut self, part: &str) -> Self {
        part.clone_into(&mut self.on);
        self
    }

    /// Only so many times.
    #[must_use]
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }

    /// Faults of a body leave requests without one alone.
    pub(super) fn applies(&self, request: &Request) -> bool {
        let any_request = matches!(
            self.kind,
            Kind::Status(..) | Kind::RetryAfter(_) | Kind::Html
        );
        self.left > 0 && request.path.contains(&self.on) && (any_request || request.wants_body())
    }

    pub(super) fn strike(&mut self) -> Kind {
        self.left -= 1;
        self.kind.clone()
    }
}

impl Kind {
    /// After how many bytes of content the answer ends.
    pub(super) fn limit(&self) -> Option<usize> {
        match self {
            Kind::Cut(bytes) | Kind::Stall(bytes) => Some(*bytes),
            _ => None,
        }
    }
}
