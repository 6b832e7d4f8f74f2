//! Options that requests of several routes have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::tokens::{Side, Truncation};

#[derive(Default, Clone, Copy, Deserialize, Serialize, JsonSchema)]
pub(super) enum Direction {
    Left,
    #[default]
    #[serde(alias = "right")]
    Right,
}

pub(super) fn truncation(truncate: Option<bool>, direction: Direction) -> Truncation {
    truncation_by("`\"truncate\": true`", truncate, direction)
}

/// The same where a request asks for truncation with other `words`.
pub(super) fn truncation_by(
    words: &'static str,
    truncate: Option<bool>,
    direction: Direction,
) -> Truncation {
    match (truncate, direction) {
        (Some(true), Direction::Left) => Truncation::Cut(Side::Left),
        (Some(true), Direction::Right) => Truncation::Cut(Side::Right),
        _ => Truncation::Refuse {
            unless: Some(words),
        },
    }
}

/// Bundles have no prompts: a request that wants one would be answered with something else.
pub(super) fn no_prompt(name: Option<&String>) -> Result<(), Invalid> {
    match name {
        None => Ok(()),
        Some(_) => Err(Invalid::new(
            InvalidCode::BadParameter,
            "prompt_name",
            "`prompt_name` is given, and this model has no prompts",
        )),
    }
}
