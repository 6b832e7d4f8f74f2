//! The reading while it grows: which run lines belong to, what waits for its run, and the bounds.
//!
//! The formats write into [`Findings`] and nowhere else. `runs`, `graphs`,
//! `analyses` and `errors` hold its methods by subject.

mod analyses;
mod errors;
mod graph_list;
mod graphs;
mod module_name;
mod runs;

use std::collections::{HashMap, HashSet};

use crate::framing::record::LogRecord;
use crate::limits::{KEPT_BYTES_MAX, LIST_MAX, TEXT_MAX};
use crate::reading::{CompilerStatus, LogError, LogReading, LogRun, Producer};

use graph_list::GraphList;

/// The cost of an entry of a list besides its text.
const ENTRY_BYTES: usize = 64;

/// Whose errors the lines report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ErrorOrigin {
    /// The compilations of this log.
    #[default]
    Own,
    /// An earlier compilation, repeated from the cache.
    Cache,
    /// Another program that wrote into the same file.
    OtherProgram,
}

/// The end of the lines so far, and of the log when it is over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogEnd {
    /// Progress dots: a compiler is running.
    pub(crate) in_dots: bool,
    /// A list of operators; a whole log may end so too.
    pub(crate) in_operators: bool,
    /// An analysis or a document. Known once the log is over.
    pub(crate) in_analysis: bool,
}

/// The reading so far, and the state that formats share.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) reading: LogReading,
    kept_bytes: usize,
    /// The index of the run that lines belong to; that of no run when it is beyond the bound.
    current: Option<usize>,
    /// Takes what is said about a run beyond the bound.
    spill: LogRun,
    /// The operators listed in the current run, by list and name.
    listed: HashSet<(&'static str, Vec<u8>)>,
    graphs: GraphList,
    /// The indexes of the errors, by what makes them distinct.
    errors: HashMap<u64, usize>,
    modules: HashSet<String>,
    /// Dots since the last status line.
    pending_dots: u64,
    /// Dots of statuses that came before their run.
    held_dots: u64,
    pub(crate) end: LogEnd,
    /// The function that torch-neuron started last, or that failed last.
    pub(crate) function: Option<String>,
    /// The module that the next error is about.
    pub(crate) module: Option<String>,
    pub(crate) origin: ErrorOrigin,
    /// An exit code of the backend that came before its error.
    pub(crate) pending_exit: Option<i64>,
    /// A text that stands for an error when nothing better explains a failure.
    pub(crate) vague_error: Option<String>,
    /// The indexes of runs from whose lists a person left out a part.
    pub(crate) elided: HashSet<usize>,
    /// True when a compiler was called for a model.
    pub(crate) is_attempted: bool,
    /// The number of times that a graph was reported as compiled, and of those not only by a status
    /// line.
    pub(crate) successes: u64,
    pub(crate) successes_beyond_status: u64,
    /// The number of passes when the last analysis was finished.
    pub(crate) passes_of_analysis: Option<u64>,
    /// Errors of this log's own compilations.
    pub(crate) fatal_errors: u64,
}

impl Findings {
    /// Notes that a line of `producer` was recognised.
    pub(crate) fn recognise(&mut self, producer: Producer) {
        self.reading.recognised = true;
        if !self.reading.producers.contains(&producer) {
            self.reading.producers.push(producer);
        }
    }

    /// A text to keep: UTF-8, and cut at its bound.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> String {
        let cut = &bytes[..bytes.len().min(TEXT_MAX)];
        let text = String::from_utf8_lossy(cut);
        if text.contains(char::REPLACEMENT_CHARACTER) {
            self.reading.skipped.lossy_texts += 1;
        }
        text.into_owned()
    }

    /// Takes the memory for one more entry of `bytes` bytes in the list called `name`, which has
    /// `length` entries; false when there is none left, and the entry is counted as skipped.
    pub(crate) fn reserve(&mut self, name: &'static str, length: usize, bytes: usize) -> bool {
        let cost = bytes.min(TEXT_MAX) + ENTRY_BYTES;
        if length < LIST_MAX && self.kept_bytes + cost <= KEPT_BYTES_MAX {
            self.kept_bytes += cost;
            return true;
        }
        self.count_beyond_bounds(name, 1);
        false
    }

    /// Counts entries of the list called `name` that are not kept.
    pub(crate) fn count_beyond_bounds(&mut self, name: &str, entries: u64) {
        let beyond = &mut self.reading.skipped.beyond_bounds;
        *beyond.entry(name.to_owned()).or_default() += entries;
    }

    /// Notes that a module was compiled.
    pub(crate) fn module_completed(&mut self, module: String) {
        let length = self.reading.completed_modules.len();
        if !self.modules.contains(&module)
            && self.reserve("completed modules", length, module.len())
        {
            self.modules.insert(module.clone());
            self.reading.completed_modules.push(module);
        }
    }

    /// Notes that the log reports a graph as compiled.
    pub(crate) fn count_success(&mut self) {
        self.successes += 1;
        self.successes_beyond_status += 1;
    }

    /// Notes the progress dots before a record.
    pub(crate) fn count_dots(&mut self, record: &LogRecord<'_>) {
        self.pending_dots = self.pending_dots.saturating_add(record.dots);
        // An empty line behind dots does not show that the compiler went on.
        if record.dots > 0 || !record.body.is_empty() {
            self.end.in_dots = record.body.is_empty();
        }
    }

    /// Notes that a person left out a part of what is being read.
    pub(crate) fn note_elision(&mut self) {
        self.reading.skipped.elisions += 1;
        if let Some(index) = self.run_index() {
            self.elided.insert(index);
        }
    }

    /// A status line: one call of a compiler has ended.
    pub(crate) fn status_line(&mut self, status: CompilerStatus) {
        self.is_attempted = true;
        let dots = self.pending_dots;
        self.reading.progress_dots = self.reading.progress_dots.saturating_add(dots);
        self.assign_dots();
        self.graph_status(status, dots);
        let statuses = &mut self.reading.statuses;
        match status {
            CompilerStatus::Pass => {
                statuses.pass += 1;
                self.successes += 1;
            }
            CompilerStatus::Error => statuses.error += 1,
        }
        if statuses.sequence.len() < LIST_MAX {
            statuses.sequence.push(status);
            statuses.dots.push(dots);
        } else {
            self.count_beyond_bounds("statuses", 1);
        }
    }

    /// Moves the graphs into the reading, and makes an error of a vague text when nothing else
    /// explains a failure.
    pub(crate) fn finish(&mut self) {
        self.finish_graphs(self.pending_dots);
        let is_unexplained = self.reading.errors.is_empty()
            && self.reading.aborted_subgraphs == 0
            && self.successes == 0
            && self.reading.recognised;
        if let Some(line) = self.vague_error.take().filter(|_| is_unexplained) {
            self.count_error(LogError::of(line));
        }
    }
}
