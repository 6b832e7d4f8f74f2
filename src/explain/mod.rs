//! What codes, statuses and messages of the Neuron tools mean, and what to do; offline.
//!
//! The table is data, under `data/`, whose format is described in `data/compiler-codes.yaml`. An
//! [`Entry`] is found by what a user types or pastes: a code in any spelling, a number, or a whole
//! line of a log. Start reading at [`candidates`]; `table` holds the entries, `search` takes a line
//! apart. The words of the table are ours: a test compares them with AWS's catalogue.

mod search;
mod table;

use serde::{Deserialize, Serialize};

use crate::failure;

/// The version of an [`Entry`] as JSON; described in `docs/explain.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// A code, a status or a message, with its meaning and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Unique. Capitals are a code, which is found as a word in any line.
    pub name: String,
    /// Other spellings of the name.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The numbers by which it goes in its group.
    #[serde(default)]
    pub numbers: Vec<i32>,
    #[serde(skip_deserializing)]
    pub group: Group,
    /// The chips concerned; empty means that it does not depend on the chip.
    #[serde(default)]
    pub chips: Option<Vec<String>>,
    pub title: String,
    pub meaning: String,
    /// What to do, in the order in which to try it.
    pub remedy: Vec<String>,
    pub severity: Severity,
    pub source: String,
    /// Whether an official source says so.
    #[serde(default = "yes")]
    pub confirmed: bool,
    #[serde(default, skip_serializing)]
    vague: bool,
    #[serde(default, skip_serializing)]
    ends_process: bool,
    #[serde(default, skip_serializing)]
    codes_like: Option<String>,
    #[serde(default, skip_serializing)]
    lines_like: Vec<String>,
}

fn yes() -> bool {
    true
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// There is no result.
    Error,
    /// There is a result, perhaps not the expected one.
    Warning,
    /// Nothing is wrong.
    Note,
}

/// Where a name or a number belongs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// What AWS's page lists.
    #[default]
    CompilerCodes,
    /// Seen, or known by their form only.
    OtherCodes,
    ExitStatuses,
    RuntimeStatuses,
    NeuroncExitCodes,
    Messages,
}

impl Group {
    pub const ALL: [Self; 6] = [
        Self::CompilerCodes,
        Self::OtherCodes,
        Self::ExitStatuses,
        Self::RuntimeStatuses,
        Self::NeuroncExitCodes,
        Self::Messages,
    ];

    /// For a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::CompilerCodes => "codes of neuronx-cc that AWS documents",
            Self::OtherCodes => "other codes of the compilers",
            Self::ExitStatuses => "exit statuses of the compilers",
            Self::RuntimeStatuses => "statuses of the Neuron runtime",
            Self::NeuroncExitCodes => "exit codes of neuronc",
            Self::Messages => "messages",
        }
    }
}

impl Entry {
    /// The chips concerned; none means that it does not depend on the chip.
    pub fn chips(&self) -> &[String] {
        self.chips.as_deref().unwrap_or_default()
    }

    /// It says that something failed and not what: whatever else is found beside it is the cause.
    pub fn is_vague(&self) -> bool {
        self.vague
    }

    /// The process that met it cannot use its core any more; at best another one can.
    pub fn ends_process(&self) -> bool {
        self.ends_process
    }

    /// The name and its aliases.
    fn spellings(&self) -> impl Iterator<Item = &str> {
        [&self.name]
            .into_iter()
            .chain(&self.aliases)
            .map(String::as_str)
    }
}

/// Every entry, in the order of [`Group::ALL`].
pub fn entries() -> &'static [Entry] {
    &table::TABLE.entries
}

/// Everything that `text` may mean, the most likely first; nothing where the table does not know
/// it.
///
/// `text` is a code or a number as somebody would type it, or a line that was copied from a log. A
/// bare number stands for each status and exit code that has it.
pub fn candidates(text: &str) -> Vec<&'static Entry> {
    search::candidates(&table::TABLE, text)
}

/// What `text` most likely means.
pub fn lookup(text: &str) -> Option<&'static Entry> {
    candidates(text).into_iter().next()
}

/// The entry whose remedy fits a line, a code or an exit status from the log of a Neuron tool. A
/// bare number is never taken for an exit code of neuronc. Meant for what a parser has picked from
/// a log, not for each of its lines: a line that is only a number is ambiguous.
pub fn advice_for(line_or_code: &str) -> Option<&'static Entry> {
    let mut candidates = candidates(line_or_code).into_iter();
    candidates.find(|entry| entry.group != Group::NeuroncExitCodes)
}

/// The names that come closest to an unknown `typed`, the closest first; at most three.
pub fn nearest(typed: &str) -> Vec<&'static str> {
    let mut left: Vec<&Entry> = entries().iter().collect();
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
