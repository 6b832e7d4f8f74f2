//! An explanation: the meaning and the remedy of one code, status or message.

use serde::{Deserialize, Serialize};

/// A code, a status or a message, with its meaning and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The name, which is unique. One in capitals is a code, and is found as a word in any line.
    pub name: String,
    /// Other spellings of the name.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The numbers by which it goes in its group.
    #[serde(default)]
    pub numbers: Vec<i32>,
    #[serde(skip_deserializing)]
    pub group: Group,
    /// The chips concerned; empty when it does not depend on the chip.
    #[serde(default)]
    pub chips: Option<Vec<String>>,
    pub title: String,
    pub meaning: String,
    /// The things to do, in the order in which to try them.
    pub remedy: Vec<String>,
    pub severity: Severity,
    pub source: String,
    /// True when an official source says so.
    #[serde(default = "yes")]
    pub confirmed: bool,
    #[serde(default, skip_serializing)]
    pub(super) vague: bool,
    #[serde(default, skip_serializing)]
    pub(super) ends_process: bool,
    #[serde(default, skip_serializing)]
    pub(super) codes_like: Option<String>,
    #[serde(default, skip_serializing)]
    pub(super) lines_like: Vec<String>,
}

fn yes() -> bool {
    true
}

/// The severity of what an explanation explains.
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

/// The group that a name or a number belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Those that AWS's page lists.
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

impl Explanation {
    /// The chips concerned; none when it does not depend on the chip.
    pub fn chips(&self) -> &[String] {
        self.chips.as_deref().unwrap_or_default()
    }

    /// True when it says that something failed and not what: another one beside it is the cause.
    pub fn is_vague(&self) -> bool {
        self.vague
    }

    /// True when the process that met it cannot use its core any more; at best another one can.
    pub fn ends_process(&self) -> bool {
        self.ends_process
    }

    /// The name and its aliases.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &str> {
        [&self.name]
            .into_iter()
            .chain(&self.aliases)
            .map(String::as_str)
    }
}
