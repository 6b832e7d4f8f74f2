//! A finding: one thing that is wrong with a machine, and how to fix it.
//!
//! A problem keeps the machine from tracing or serving for a chip; a warning may lead to one or to
//! surprises; a note is good to know.

use serde::Serialize;

use crate::profile::ChipProfile;

/// Something that a machine can do for a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    Trace,
    Serve,
}

/// Severity of a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSeverity {
    Problem,
    Warning,
    Note,
}

/// One thing that is not as it should be, with its fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the finding, which stays the same from release to release.
    pub id: &'static str,
    pub severity: FindingSeverity,
    /// The chips concerned; empty where the machine as a whole is.
    pub chips: Vec<String>,
    /// The capabilities that the machine lacks for these chips because of it.
    pub blocks: Vec<Capability>,
    /// The missing thing in a few words; present for problems only.
    pub lacks: Option<&'static str>,
    pub what: String,
    pub why: Option<String>,
    pub fix: String,
}

impl Finding {
    fn new(id: &'static str, severity: FindingSeverity, what: impl Into<String>) -> Self {
        Self {
            id,
            severity,
            chips: Vec::new(),
            blocks: Vec::new(),
            lacks: None,
            what: what.into(),
            why: None,
            fix: String::new(),
        }
    }

    /// A problem that prevents `blocks`; `lacks` names the missing thing in a few words.
    pub(super) fn problem(
        id: &'static str,
        blocks: &[Capability],
        lacks: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Self {
            blocks: blocks.to_vec(),
            lacks: Some(lacks),
            ..Self::new(id, FindingSeverity::Problem, what)
        }
    }

    pub(super) fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Warning, what)
    }

    pub(super) fn note(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Note, what)
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    pub(super) fn of(mut self, chip: &ChipProfile) -> Self {
        self.chips = vec![chip.name.clone()];
        self
    }

    /// True when the finding concerns the chip of this name.
    pub fn is_about(&self, chip: &str) -> bool {
        self.chips.is_empty() || self.chips.iter().any(|name| name == chip)
    }
}
