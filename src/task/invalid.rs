//! Why a request is refused. The HTTP status belongs to `serve`.

use std::fmt;

/// The stable codes of refusals, listed in `docs/predict.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCode {
    /// A value is not of the JSON type that it must have.
    WrongType,
    /// A field that must be there is not.
    MissingField,
    /// A field or a parameter that the task does not have.
    UnknownField,
    /// A parameter's value is out of range, or contradicts another or the model.
    BadParameter,
    /// A text without tokens, or a list without items.
    Empty,
    /// More tokens than the longest bucket has.
    TooLong,
    /// More rows than one request may make.
    TooMany,
    /// The question leaves no room for the context.
    NoRoom,
    /// A text to fill has no mask token.
    NoMask,
    /// The model does not do what the route is for.
    WrongTask,
    /// The tokenizer refuses the text.
    Untokenizable,
}

impl InvalidCode {
    /// The code as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            InvalidCode::WrongType => "wrong_type",
            InvalidCode::MissingField => "missing_field",
            InvalidCode::UnknownField => "unknown_field",
            InvalidCode::BadParameter => "bad_parameter",
            InvalidCode::Empty => "empty",
            InvalidCode::TooLong => "too_long",
            InvalidCode::TooMany => "too_many",
            InvalidCode::NoRoom => "no_room",
            InvalidCode::NoMask => "no_mask",
            InvalidCode::WrongTask => "wrong_task",
            InvalidCode::Untokenizable => "untokenizable",
        }
    }
}

/// A request that is refused: what is wrong with it, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub code: InvalidCode,
    /// The path of the field in the request, such as `inputs[2]`; `None` for the request as a whole.
    pub field: Option<String>,
    /// For the client. Quotes names from the request, never its texts.
    pub message: String,
}

impl Invalid {
    /// A refusal because of the field at `path`; an empty path stands for the whole request.
    pub fn new(code: InvalidCode, path: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            field: (!path.is_empty()).then(|| path.to_owned()),
            message: message.into(),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.name())
    }
}

impl std::error::Error for Invalid {}
