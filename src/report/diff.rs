//! The difference between two reports.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::CoverageReport;
use crate::report::subject::Share;
use crate::report::verdict;
use crate::report::width::{elide, wrap};

/// The version of a difference as JSON.
const SCHEMA_VERSION: u32 = 1;

/// The difference between an old and a new report.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ReportDifference {
    pub schema_version: u32,
    pub old_verdict: String,
    pub new_verdict: String,
    pub old_total: Option<Share>,
    pub new_total: Option<Share>,
    /// Operators whose counts differ, the largest change first.
    pub operators: Vec<OperatorChange>,
    pub errors_gone: Vec<String>,
    pub errors_new: Vec<String>,
}

/// The counts of one operator, over all subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OperatorChange {
    pub operator: String,
    pub old: PlaceCounts,
    pub new: PlaceCounts,
}

/// The number of times that an operator runs on the chip and on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct PlaceCounts {
    pub on_chip: u64,
    pub on_host: u64,
}

impl ReportDifference {
    pub fn between(old: &CoverageReport, new: &CoverageReport) -> Self {
        let (old_counts, new_counts) = (counts(old), counts(new));
        let names: BTreeSet<&String> = old_counts.keys().chain(new_counts.keys()).collect();
        let change = |operator: &String| OperatorChange {
            operator: operator.clone(),
            old: old_counts.get(operator).copied().unwrap_or_default(),
            new: new_counts.get(operator).copied().unwrap_or_default(),
        };
        let mut operators: Vec<OperatorChange> = names
            .into_iter()
            .map(change)
            .filter(|change| change.old != change.new)
            .collect();
        operators.sort_by_key(|change| std::cmp::Reverse(change.size()));
        let (old_errors, new_errors) = (errors(old), errors(new));
        Self {
            schema_version: SCHEMA_VERSION,
            old_verdict: old.verdict.line.clone(),
            new_verdict: new.verdict.line.clone(),
            old_total: old.total,
            new_total: new.total,
            operators,
            errors_gone: old_errors.difference(&new_errors).cloned().collect(),
            errors_new: new_errors.difference(&old_errors).cloned().collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.operators.is_empty()
            && self.errors_gone.is_empty()
            && self.errors_new.is_empty()
            && self.old_total == self.new_total
            && self.old_verdict == self.new_verdict
    }

    /// The difference for the terminal.
    pub fn text(&self) -> String {
        if self.is_empty() {
            return format!("{}\n", wrap(&format!("no change: {}", self.new_verdict), 2));
        }
        let mut text = match (self.old_total, self.new_total) {
            (Some(old), Some(new)) => {
                format!("coverage {:.2} % -> {:.2} %\n", old.percent, new.percent)
            }
            _ => "changed\n".to_owned(),
        };
        for (word, verdict) in [("old", &self.old_verdict), ("new", &self.new_verdict)] {
            text.push_str(&format!("  {word}: {}\n", wrap(verdict, 7)));
        }
        if !self.operators.is_empty() {
            text.push_str(&format!(
                "\n{:<32} {:>16} {:>16}\n",
                "operator", "on chip", "on host"
            ));
        }
        for change in &self.operators {
            let arrow = |old: u64, new: u64| {
                if old == new {
                    old.to_string()
                } else {
                    format!("{old} -> {new}")
                }
            };
            let chip = arrow(change.old.on_chip, change.new.on_chip);
            let host = arrow(change.old.on_host, change.new.on_host);
            let name = elide(&change.operator, 32);
            text.push_str(&format!("{name:<32} {chip:>16} {host:>16}\n"));
        }
        for (word, errors) in [("gone", &self.errors_gone), ("new", &self.errors_new)] {
            for error in errors {
                text.push_str(&format!(
                    "\n{}\n",
                    wrap(&format!("error {word}: {error}"), 2)
                ));
            }
        }
        text
    }
}

impl OperatorChange {
    fn size(&self) -> u64 {
        self.old.on_chip.abs_diff(self.new.on_chip) + self.old.on_host.abs_diff(self.new.on_host)
    }
}

fn counts(report: &CoverageReport) -> BTreeMap<String, PlaceCounts> {
    let mut counts: BTreeMap<String, PlaceCounts> = BTreeMap::new();
    for subject in &report.subjects {
        for entry in subject.on_chip.iter().flatten() {
            counts.entry(entry.operator.clone()).or_default().on_chip += entry.count as u64;
        }
        for entry in subject.on_host.iter().flatten() {
            counts.entry(entry.operator.clone()).or_default().on_host += entry.count;
        }
    }
    counts
}

fn errors(report: &CoverageReport) -> BTreeSet<String> {
    let logs = report
        .sources
        .iter()
        .filter_map(|source| source.log.as_ref());
    logs.flat_map(|log| log.errors.iter().map(verdict::cause))
        .collect()
}
