//! What is wrong with a machine, and what to do about it: a pure function of what was found out.
//!
//! A problem keeps the machine from tracing or serving for a chip; a warning may lead to one or to
//! surprises; a note is good to know.

mod device;
mod machine;
mod sdk;

use serde::Serialize;

use crate::doctor::Machine;
use crate::profile::ChipProfile;

/// What a machine does for a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    Trace,
    Serve,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Problem,
    Warning,
    Note,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stays the same from release to release.
    pub id: &'static str,
    pub severity: Severity,
    /// The chips concerned; empty where it is the machine as a whole.
    pub chips: Vec<String>,
    /// What it keeps the machine from doing for these chips.
    pub blocks: Vec<Work>,
    /// What is missing, in a few words.
    pub lacks: Option<&'static str>,
    pub what: String,
    pub why: Option<String>,
    pub fix: String,
}

impl Finding {
    fn new(id: &'static str, severity: Severity, what: impl Into<String>) -> Self {
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

    /// Something that is in the way of `blocks`; `lacks` says in a few words what is missing.
    fn problem(
        id: &'static str,
        blocks: &[Work],
        lacks: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Self {
            blocks: blocks.to_vec(),
            lacks: Some(lacks),
            ..Self::new(id, Severity::Problem, what)
        }
    }

    fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Warning, what)
    }

    fn note(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, Severity::Note, what)
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    fn of(mut self, chip: &ChipProfile) -> Self {
        self.chips = vec![chip.name.clone()];
        self
    }

    pub fn is_about(&self, chip: &str) -> bool {
        self.chips.is_empty() || self.chips.iter().any(|name| name == chip)
    }
}

/// Everything that is wrong, the worst first; what concerns several chips alike is said once.
pub fn find(machine: &Machine, chips: &[ChipProfile]) -> Vec<Finding> {
    let neuron = chips.iter().filter_map(|chip| {
        let sdk = chip.sdk.as_ref()?;
        let mut found = device::of_chip(machine, chip, sdk);
        found.extend(sdk::of_chip(machine, chip, sdk));
        Some(found)
    });
    let mut found = machine::of_host(machine, chips);
    found.extend(neuron.flatten());
    let mut merged: Vec<Finding> = Vec::new();
    for finding in found {
        let key = |f: &Finding| Finding {
            chips: Vec::new(),
            ..f.clone()
        };
        match merged.iter_mut().find(|known| key(known) == key(&finding)) {
            Some(known) => known.chips.extend(finding.chips),
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.severity);
    merged
}
