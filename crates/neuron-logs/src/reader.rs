//! From lines to a reading: every record goes through the formats, in their order.

use crate::conclusions;
use crate::findings::Findings;
use crate::framing::duplicates::DuplicateRecords;
use crate::framing::needles::{Needle, Needles};
use crate::framing::record::LogRecord;
use crate::framing::split::for_each_record;
use crate::producers::{Formats, is_list_line};
use crate::reading::{LogReading, SkippedInput};
use crate::text::scan::{after, contains, is_word};

/// Among operators, where no compiler runs and prints progress, a line of three dots is a person's.
const ELISION_DOTS: u64 = 3;

/// The state between two lines.
#[derive(Default)]
pub(crate) struct LogReader {
    findings: Findings,
    formats: Formats,
    duplicates: DuplicateRecords,
    /// The number of records since the last line of a list of operators, where there was one.
    since_list: Option<usize>,
}

impl LogReader {
    pub(crate) fn line(&mut self, line: &[u8], needles: Needles<'_>) {
        self.count_warnings(line, needles);
        let is_unknown = self.findings.reading.versions.compiler.is_none();
        if is_unknown && needles.has(Needle::CompilerPath) {
            self.note_compiler_in_path(line);
        }
        for_each_record(line, needles, |record| self.record(record, needles));
    }

    /// Warnings are counted by physical lines, whoever wrote them.
    fn count_warnings(&mut self, line: &[u8], needles: Needles<'_>) {
        let warnings = &mut self.findings.reading.warnings;
        if needles.has(Needle::Warn) {
            warnings.logger += u64::from(has_word(line, b"WARNING"));
            warnings.runtime += u64::from(contains(line, " WARN "));
        }
        warnings.python += u64::from(needles.has(Needle::PythonWarning));
    }

    /// The compiler version in a cache path, such as `neuronxcc-2.26.6360.0+6f180f47`; a line of any
    /// program may hold one.
    fn note_compiler_in_path(&mut self, line: &[u8]) {
        for mark in ["neuronxcc-", "neuroncc-"] {
            let Some(rest) = after(line, mark) else {
                continue;
            };
            let is_version = |byte: &u8| byte.is_ascii_alphanumeric() || b".+".contains(byte);
            let length = rest.iter().position(|byte| !is_version(byte));
            let version = &rest[..length.unwrap_or(rest.len())];
            let numbered = version.first().is_some_and(u8::is_ascii_digit);
            if numbered && contains(version, ".") && contains(version, "+") {
                let version = self.findings.text(version);
                self.findings.reading.versions.compiler = Some(version);
                return;
            }
        }
    }

    fn record(&mut self, record: &LogRecord<'_>, needles: Needles<'_>) {
        let findings = &mut self.findings;
        if record.body.is_empty() {
            let is_listing = self.since_list == Some(0) || self.formats.is_listing();
            if record.dots == ELISION_DOTS && is_listing {
                findings.note_elision();
            } else {
                findings.count_dots(record);
            }
            return;
        }
        // Dots are the progress of a compiler, also where another handler repeats the message
        // behind them.
        findings.count_dots(record);
        if self.duplicates.is_one(record) {
            findings.reading.skipped.duplicates += 1;
            return;
        }
        self.formats.observe(record, needles, findings);
        self.since_list = if is_list_line(record.body) {
            Some(0)
        } else {
            self.since_list.map(|count| count.saturating_add(1))
        };
        if self.formats.claim(record, findings) {
            return;
        }
        let is_known = self.formats.read(record, needles, findings);
        // A known record behind a list shows that the list was whole.
        if is_known && self.since_list != Some(0) {
            self.since_list = None;
        }
    }

    pub(crate) fn finish(mut self, skipped: &SkippedInput) -> LogReading {
        // The last line may be cut too, and is then not recognised as one of the list.
        self.findings.end.in_operators = self.since_list.is_some_and(|count| count <= 1);
        self.formats.finish(&mut self.findings);
        self.findings.finish();
        let counts = &mut self.findings.reading.skipped;
        counts.lines = skipped.lines;
        counts.bytes = skipped.bytes;
        counts.long_lines = skipped.long_lines;
        counts.long_line_bytes = skipped.long_line_bytes;
        conclusions::finish(self.findings)
    }
}

/// Whether `line` holds `word`, and not only as a part of a longer word.
fn has_word(line: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find_iter(line, word).any(|at| {
        let before = at.checked_sub(1).map(|at| line[at]);
        let after = line.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
