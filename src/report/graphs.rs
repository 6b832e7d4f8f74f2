//! Graphs in words and counts, for logs that hold no figures of operators.

use neuron_logs::reading::{GraphStatus, LogGraph};
use schemars::JsonSchema;
use serde::Serialize;

use crate::report::subject::Subject;

/// The number of graphs by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct GraphCounts {
    pub total: u64,
    pub passed: u64,
    pub cached: u64,
    pub failed: u64,
    pub killed: u64,
    pub failed_in_cache: u64,
    pub unfinished: u64,
    pub not_told: u64,
    pub extracted: u64,
}

impl GraphCounts {
    /// `None` when no subject is a graph.
    pub(super) fn of(subjects: &[Subject]) -> Option<Self> {
        let mut counts = Self::default();
        for graph in subjects.iter().filter_map(|subject| subject.graph.as_ref()) {
            counts.total += 1;
            *match graph.status {
                GraphStatus::Passed => &mut counts.passed,
                GraphStatus::Cached => &mut counts.cached,
                GraphStatus::Failed => &mut counts.failed,
                GraphStatus::Killed => &mut counts.killed,
                GraphStatus::FailedInCache => &mut counts.failed_in_cache,
                GraphStatus::Unfinished => &mut counts.unfinished,
                GraphStatus::NotTold => &mut counts.not_told,
                GraphStatus::Extracted => &mut counts.extracted,
            } += 1;
        }
        (counts.total > 0).then_some(counts)
    }

    /// `7 graphs: 5 passed, 2 failed`.
    pub(super) fn in_words(self) -> String {
        let counts = [
            (self.passed, "passed"),
            (self.cached, "from the cache"),
            (self.failed, "failed"),
            (self.killed, "killed"),
            (self.failed_in_cache, "failed before"),
            (self.unfinished, "without an end"),
            (self.not_told, "not told apart"),
            (self.extracted, "not compiled"),
        ];
        let present = counts.iter().filter(|(count, _)| *count > 0);
        let words: Vec<String> = present
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let noun = if self.total == 1 { "graph" } else { "graphs" };
        format!("{} {noun}: {}", self.total, words.join(", "))
    }
}

/// The part of a graph that is on the chip: all of it or nothing.
pub(super) fn place(graph: &LogGraph) -> &'static str {
    match graph.status {
        GraphStatus::Passed | GraphStatus::Cached => "all of it",
        GraphStatus::Failed | GraphStatus::Killed | GraphStatus::FailedInCache => "nothing",
        GraphStatus::Unfinished | GraphStatus::NotTold | GraphStatus::Extracted => "-",
    }
}

/// The end of a graph in words, with its code.
pub(super) fn result(graph: &LogGraph) -> String {
    let word = match graph.status {
        GraphStatus::Passed => "ok",
        GraphStatus::Cached => "from the cache",
        GraphStatus::Failed => "failed",
        GraphStatus::Killed => "killed",
        GraphStatus::FailedInCache => "failed before",
        GraphStatus::Unfinished => "no end in the log",
        GraphStatus::NotTold => "not told apart",
        GraphStatus::Extracted => "not compiled",
    };
    let exit = graph.exit_status.map(|code| format!("exit {code}"));
    match graph.code.clone().or(exit) {
        Some(cause) => format!("{word} {cause}"),
        None => word.to_owned(),
    }
}
