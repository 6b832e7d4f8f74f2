//! Names and numbers of models.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a served model. It is never given to another model of this server, so that it also tells
/// apart two models that had the same name one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ModelId(u64);

impl ModelId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The names that pass [`check_model_name`], as a pattern for the OpenAPI document.
pub(crate) const NAME_PATTERN: &str = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$";

/// Checks the name of a model or an alias; the error is a sentence. Names end up in paths and logs.
pub fn check_model_name(name: &str) -> Result<(), String> {
    const BYTES_MAX: usize = 200;
    let is_good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    // Clients take `.` and `..` out of a path.
    let begins_well = !name.is_empty() && !name.starts_with('.');
    match begins_well && name.len() <= BYTES_MAX && name.chars().all(is_good) {
        true => Ok(()),
        false => Err(format!(
            "a name is made of 1 to {BYTES_MAX} letters, digits, `-`, `_` and `.`, and does not begin with `.`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_pattern() {
        let pattern = regex::Regex::new(NAME_PATTERN).unwrap();
        let (long, too_long) = ("a".repeat(200), "a".repeat(201));
        for (name, is_one) in [
            ("all-MiniLM_L6.v2", true),
            ("-", true),
            (&*long, true),
            (&*too_long, false),
            ("", false),
            (".", false),
            (".a", false),
            ("a/b", false),
            ("a b", false),
            ("\u{fc}", false),
        ] {
            assert_eq!(check_model_name(name).is_ok(), is_one, "{name}");
            assert_eq!(pattern.is_match(name), is_one, "{name}");
        }
    }
}
