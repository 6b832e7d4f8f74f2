//! The reading while it grows: the one place that enforces its bounds.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};

use super::graphs::Graphs;
use super::reading::{
    Contradiction, Function, KEPT_BYTES_MAX, LIST_MAX, LogError, LogReading, Notice, NoticeKind,
    Producer, Run, Status, TEXT_MAX,
};
use super::records::Record;

/// What an entry of a list costs besides its text.
const ENTRY_BYTES: usize = 64;

/// Whose errors the log reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Origin {
    /// The compilations of this log.
    #[default]
    Own,
    /// An earlier compilation, repeated from the cache.
    Cache,
    /// Another program that wrote into the same file.
    OtherProgram,
}

/// The reading, the run that lines belong to, and what is waiting for its run.
#[derive(Default)]
pub(super) struct Book {
    pub(super) reading: LogReading,
    kept_bytes: usize,
    current: Option<usize>,
    /// Stands in for runs beyond the bound.
    spill: Run,
    /// Operators listed in the current run, by list and name.
    listed: HashSet<(&'static str, Vec<u8>)>,
    pub(super) graphs: Graphs,
    errors: HashMap<u64, usize>,
    modules: HashSet<String>,
    /// Dots since the last status line.
    pending_dots: u64,
    /// Dots of statuses that came before their run.
    held_dots: u64,
    /// Whether the last thing in the log was a dot.
    pub(super) ends_in_dots: bool,
    /// The module that the next error is about.
    pub(super) module: Option<String>,
    pub(super) origin: Origin,
    /// An exit code of the backend that came before its error.
    pub(super) pending_exit: Option<i64>,
    /// A text that stands for an error when nothing better explains a failure.
    pub(super) vague_error: Option<String>,
    /// Runs of whose lists a person left out a part.
    pub(super) elided: HashSet<usize>,
    /// A compiler call for a model was seen.
    pub(super) attempted: bool,
    /// How often a graph was reported as compiled, and how often not only by a status line.
    pub(super) successes: u64,
    pub(super) successes_beyond_status: u64,
    /// How many passes there were when the last analysis was finished.
    pub(super) passes_of_analysis: Option<u64>,
    /// Errors of this log's own compilations.
    pub(super) fatal_errors: u64,
}

impl Book {
    /// Notes that a line of `producer` was recognised.
    pub(super) fn saw(&mut self, producer: Producer) {
        self.reading.recognised = true;
        if !self.reading.producers.contains(&producer) {
            self.reading.producers.push(producer);
        }
    }

    /// A text to keep: UTF-8, and cut at its bound.
    pub(super) fn text(&mut self, bytes: &[u8]) -> String {
        let cut = &bytes[..bytes.len().min(TEXT_MAX)];
        let text = String::from_utf8_lossy(cut);
        if text.contains(char::REPLACEMENT_CHARACTER) {
            self.reading.skipped.lossy_texts += 1;
        }
        text.into_owned()
    }

    /// Whether a list called `name` with `length` entries may take one more of `bytes` bytes.
    pub(super) fn room(&mut self, name: &'static str, length: usize, bytes: usize) -> bool {
        let cost = bytes.min(TEXT_MAX) + ENTRY_BYTES;
        if length < LIST_MAX && self.kept_bytes + cost <= KEPT_BYTES_MAX {
            self.kept_bytes += cost;
            return true;
        }
        let beyond = &mut self.reading.skipped.beyond_bounds;
        *beyond.entry(name.to_owned()).or_default() += 1;
        false
    }

    /// The run that lines belong to now; a new one when there is none.
    pub(super) fn run(&mut self) -> &mut Run {
        match self.current {
            None => self.new_run(),
            Some(index) if index < self.reading.runs.len() => &mut self.reading.runs[index],
            Some(_) => &mut self.spill,
        }
    }

    /// The run that lines belong to now.
    pub(super) fn open_run(&mut self) -> Option<&mut Run> {
        let index = self.current?;
        Some(match self.reading.runs.get_mut(index) {
            Some(run) => run,
            None => &mut self.spill,
        })
    }

    pub(super) fn new_run(&mut self) -> &mut Run {
        self.flush_dots();
        self.listed.clear();
        let mut run = Run {
            progress_dots: std::mem::take(&mut self.held_dots),
            ..Run::default()
        };
        if self.room("runs", self.reading.runs.len(), size_of::<Run>()) {
            self.current = Some(self.reading.runs.len());
            self.reading.runs.push(run);
            let last = self.reading.runs.len() - 1;
            return &mut self.reading.runs[last];
        }
        self.current = Some(usize::MAX);
        std::mem::swap(&mut self.spill, &mut run);
        &mut self.spill
    }

    /// Lines after this one do not belong to the current run.
    pub(super) fn close_run(&mut self) {
        self.flush_dots();
        self.current = None;
    }

    /// The index of the current run, as contradictions name it.
    pub(super) fn run_index(&self) -> Option<usize> {
        self.current
            .filter(|index| *index < self.reading.runs.len())
    }

    /// Notes that `operator` is in a list of the current run; false if it was before.
    pub(super) fn lists(&mut self, list: &'static str, operator: &[u8]) -> bool {
        let key = (list, operator.to_vec());
        if self.listed.len() < 3 * LIST_MAX {
            self.listed.insert(key)
        } else {
            !self.listed.contains(&key)
        }
    }

    /// Adds a function to the current run, or to a new one when that is already compiled.
    pub(super) fn add_function(&mut self, function: Function) {
        if self.open_run().is_some_and(|run| run.compiled.is_some()) {
            self.new_run();
        }
        let length = self.run().functions.len();
        let bytes = function.name.as_ref().map_or(0, String::len);
        if self.room("functions", length, bytes) {
            self.run().functions.push(function);
        }
    }

    /// Notes that a module was compiled.
    pub(super) fn complete(&mut self, module: String) {
        let length = self.reading.completed_modules.len();
        if !self.modules.contains(&module) && self.room("completed modules", length, module.len()) {
            self.modules.insert(module.clone());
            self.reading.completed_modules.push(module);
        }
    }

    /// Notes that the log reports a graph as compiled.
    pub(super) fn success(&mut self) {
        self.successes += 1;
        self.successes_beyond_status += 1;
    }

    pub(super) fn dots(&mut self, record: &Record<'_>) {
        if record.dots > 0 {
            self.pending_dots = self.pending_dots.saturating_add(record.dots);
        }
        if !(record.dots == 0 && record.body.is_empty()) {
            self.ends_in_dots = record.body.is_empty();
        }
    }

    /// Notes that a person left out a part of what is being read.
    pub(super) fn elide(&mut self) {
        self.reading.skipped.elisions += 1;
        if let Some(index) = self.run_index() {
            self.elided.insert(index);
        }
    }

    /// Whether an error like this one was reported before.
    pub(super) fn knows(&self, error: &LogError) -> bool {
        self.errors.contains_key(&key(error))
    }

    /// Makes an error of a vague text when there is no sign of anything else.
    pub(super) fn finish(&mut self) {
        self.finish_graphs(self.pending_dots);
        let unexplained = self.reading.errors.is_empty()
            && self.reading.aborted_subgraphs == 0
            && self.successes == 0
            && self.reading.recognised;
        if let Some(line) = self.vague_error.take().filter(|_| unexplained) {
            let error = LogError {
                line,
                ..LogError::default()
            };
            if let Some(known) = self.report(error) {
                known.count += 1;
            }
        }
    }

    /// The dots so far belong to the run that is being compiled.
    pub(super) fn settle(&mut self) {
        self.flush_dots();
    }

    pub(super) fn status(&mut self, status: Status) {
        self.attempted = true;
        let dots = self.pending_dots;
        self.reading.progress_dots = self.reading.progress_dots.saturating_add(dots);
        self.flush_dots();
        self.graph_status(status, dots);
        let statuses = &mut self.reading.statuses;
        match status {
            Status::Pass => {
                statuses.pass += 1;
                self.successes += 1;
            }
            Status::Error => statuses.error += 1,
        }
        if statuses.sequence.len() < LIST_MAX {
            statuses.sequence.push(status);
            statuses.dots.push(dots);
        } else {
            let beyond = &mut self.reading.skipped.beyond_bounds;
            *beyond.entry("statuses".to_owned()).or_default() += 1;
        }
    }

    /// Gives the dots so far to the run that is being compiled, or keeps them for the next one.
    fn flush_dots(&mut self) {
        let dots = std::mem::take(&mut self.pending_dots);
        match self.open_run().filter(|run| run.compiled.is_none()) {
            Some(run) => run.progress_dots = run.progress_dots.saturating_add(dots),
            None => self.held_dots = self.held_dots.saturating_add(dots),
        }
    }

    /// Reports an error: errors that differ only in numbers are one. The module, the exit code and
    /// the replay that are being read are noted with it.
    pub(super) fn report(&mut self, mut error: LogError) -> Option<&mut LogError> {
        let key = key(&error);
        error.replayed = self.origin == Origin::Cache;
        self.fatal_errors += u64::from(self.origin == Origin::Own);
        if let Some(index) = self.errors.get(&key) {
            let known = self.reading.errors.get_mut(*index)?;
            known.replayed &= error.replayed;
            return Some(known);
        }
        error.module = error.module.or_else(|| self.module.clone());
        match self.pending_exit.take() {
            Some(code) if code < 0 => error.exit_status = error.exit_status.or(Some(code)),
            code => error.backend_exit = error.backend_exit.or(code),
        }
        let length = self.reading.errors.len();
        if !self.room("errors", length, error.line.len()) {
            return None;
        }
        self.errors.insert(key, length);
        self.reading.errors.push(error);
        self.reading.errors.last_mut()
    }

    /// Reports an error that stands in one line, and counts it.
    pub(super) fn count_error(&mut self, error: LogError) {
        if let Some(known) = self.report(error) {
            known.count += 1;
        }
    }

    pub(super) fn notice(&mut self, kind: NoticeKind, record: &Record<'_>) {
        let notices = &mut self.reading.notices;
        if let Some(known) = notices.iter_mut().find(|notice| notice.kind == kind) {
            known.count += 1;
            return;
        }
        let line = self.text(record.text.trim_ascii_end());
        self.reading.notices.push(Notice {
            kind,
            line,
            count: 1,
        });
    }

    pub(super) fn contradiction(&mut self, what: &str, one: (&str, f64), other: (&str, f64)) {
        if self.room("contradictions", self.reading.contradictions.len(), 128) {
            let run = self.run_index();
            self.reading.contradictions.push(Contradiction {
                run,
                what: what.to_owned(),
                one: (one.0.to_owned(), one.1),
                other: (other.0.to_owned(), other.1),
            });
        }
    }
}

/// What makes two errors the same: everything but the numbers in their message.
fn key(error: &LogError) -> u64 {
    let mut hasher = DefaultHasher::new();
    error.code.hash(&mut hasher);
    let mut in_number = false;
    for byte in error.line.bytes() {
        let digit = byte.is_ascii_digit();
        if !(digit && in_number) {
            hasher.write_u8(if digit { b'0' } else { byte });
        }
        in_number = digit;
    }
    hasher.finish()
}
