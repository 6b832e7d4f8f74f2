//! Judges the facts about a machine: what is wrong with it, and how to fix that.
//!
//! A problem keeps the machine from tracing or serving for a chip; a warning may lead to one or to
//! surprises; a note is good to know.

mod device;
mod machine;
mod sdk;

use serde::Serialize;

use crate::doctor::facts::MachineFacts;
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
    fn problem(
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

    fn warning(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Warning, what)
    }

    fn note(id: &'static str, what: impl Into<String>) -> Self {
        Self::new(id, FindingSeverity::Note, what)
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

/// All findings, the worst first. Findings that differ only in their chip are merged into one.
pub fn find(machine: &MachineFacts, chips: &[ChipProfile]) -> Vec<Finding> {
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
