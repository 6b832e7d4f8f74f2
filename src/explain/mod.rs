//! The meaning of codes, statuses and messages of the Neuron tools, and their remedies; offline.
//!
//! The table is data, under `data/`, whose format is described in `data/compiler-codes.yaml`. An
//! [`Explanation`] is found by what a user types or pastes: a code in any spelling, a number, or a whole
//! line of a log. Start reading at [`candidates`]; `table` holds the entries, `search` takes a line
//! apart. The words of the table are ours: a test compares them with AWS's catalogue.

mod explanation;
mod search;
mod table;

use crate::failure;

pub use explanation::{Explanation, Group, Severity};

/// The version of an [`Explanation`] as JSON; described in `docs/explain.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// Every entry, in the order of [`Group::ALL`].
pub fn entries() -> &'static [Explanation] {
    &table::TABLE.entries
}

/// Everything that `text` may mean, the most likely first; nothing where the table does not know
/// it.
///
/// `text` is a code or a number as somebody would type it, or a line that was copied from a log. A
/// bare number stands for each status and exit code that has it.
pub fn candidates(text: &str) -> Vec<&'static Explanation> {
    search::candidates(&table::TABLE, text)
}

/// The most likely meaning of `text`.
pub fn lookup(text: &str) -> Option<&'static Explanation> {
    candidates(text).into_iter().next()
}

/// The entry whose remedy fits a line, a code or an exit status from the log of a Neuron tool. A
/// bare number is never taken for an exit code of neuronc. Meant for what a parser has picked from
/// a log, not for each of its lines: a line that is only a number is ambiguous.
pub fn advice_for(line_or_code: &str) -> Option<&'static Explanation> {
    let mut candidates = candidates(line_or_code).into_iter();
    candidates.find(|entry| entry.group != Group::NeuroncExitCodes)
}

/// The names that come closest to an unknown `typed`, the closest first; at most three.
pub fn nearest(typed: &str) -> Vec<&'static str> {
    let mut left: Vec<&Explanation> = entries().iter().collect();
    let mut near = Vec::new();
    while near.len() < 3 {
        let spellings = left.iter().flat_map(|entry| entry.spellings());
        let Some(spelling) = failure::nearest(typed, spellings) else {
            break;
        };
        let found = left
            .iter()
            .position(|entry| entry.spellings().any(|other| other == spelling));
        near.extend(found.map(|at| left.remove(at).name.as_str()));
    }
    near
}
