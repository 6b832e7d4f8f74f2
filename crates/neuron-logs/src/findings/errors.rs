//! Errors, each once however often it is reported; warnings and contradictions.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use super::{ErrorOrigin, Findings};
use crate::framing::record::LogRecord;
use crate::reading::{Contradiction, GraphStatus, LogError, Notice, NoticeKind};

/// The code of neuronx-cc for a compiler that the kernel killed.
const KILLED_CODE: &str = "F137";

impl Findings {
    /// Reports an error; errors that differ only in numbers are one. The module, the exit code and
    /// the replay that are being read are noted with it. `None` when it is beyond the bounds.
    pub(crate) fn report_error(&mut self, mut error: LogError) -> Option<&mut LogError> {
        let key = key(&error);
        error.replayed = self.origin == ErrorOrigin::Cache;
        self.fatal_errors += u64::from(self.origin == ErrorOrigin::Own);
        if let Some(index) = self.errors.get(&key) {
            let known = self.reading.errors.get_mut(*index)?;
            known.replayed &= error.replayed;
            return Some(known);
        }
        error.module = error.module.or_else(|| self.module.clone());
        match self.pending_exit.take() {
            // A negative code is the signal that killed a child, not what the backend returned.
            Some(code) if code < 0 => error.exit_status = error.exit_status.or(Some(code)),
            code => error.backend_exit = error.backend_exit.or(code),
        }
        let length = self.reading.errors.len();
        if !self.reserve("errors", length, error.line.len()) {
            return None;
        }
        self.errors.insert(key, length);
        self.reading.errors.push(error);
        self.reading.errors.last_mut()
    }

    /// Reports an error that stands in one line, and counts it.
    pub(crate) fn count_error(&mut self, error: LogError) {
        if let Some(known) = self.report_error(error) {
            known.count += 1;
        }
    }

    /// Reports an error of a compiler, which is that of a graph.
    pub(crate) fn report_compiler_error(&mut self, error: LogError) -> Option<&mut LogError> {
        let is_new = !self.errors.contains_key(&key(&error));
        let index = match self.graphs.failing() {
            // A repeated or replayed error does not say that one more graph failed.
            None if is_new && self.origin == ErrorOrigin::Own => {
                self.failing_graph(error.exit_status)
            }
            failing => failing,
        };
        if let Some(index) = index {
            let graph = self.graphs.get_mut(index);
            if graph.code.is_none() {
                graph.code.clone_from(&error.code);
            }
            graph.exit_status = graph.exit_status.or(error.exit_status);
            let is_killed = error.code.as_deref() == Some(KILLED_CODE);
            if graph.status == GraphStatus::Failed && is_killed {
                graph.status = GraphStatus::Killed;
            }
        }
        self.report_error(error)
    }

    /// Reports an error of a compiler that stands in one line, and counts it.
    pub(crate) fn count_compiler_error(&mut self, error: LogError) {
        if let Some(known) = self.report_compiler_error(error) {
            known.count += 1;
        }
    }

    /// Notes a warning that advice can build on, with the text of the first of its kind.
    pub(crate) fn add_notice(&mut self, kind: NoticeKind, record: &LogRecord<'_>) {
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

    /// Notes two statements about the current run that cannot both be true.
    pub(crate) fn add_contradiction(&mut self, what: &str, one: (&str, f64), other: (&str, f64)) {
        if self.reserve("contradictions", self.reading.contradictions.len(), 128) {
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

/// A hash of what makes two errors the same: everything but the numbers in their message.
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
