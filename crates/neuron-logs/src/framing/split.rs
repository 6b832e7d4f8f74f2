//! Several records in one physical line: programs that share a stream write behind one another.

use super::needles::{Needle, Needles};
use super::record::{LogRecord, Logger};
use crate::text::scan::find;

/// Only a line with one of these can hold more than one record.
const SPLITTING: [Needle; 4] = [
    Needle::NeuronLogger,
    Needle::Bars,
    Needle::BracketedLevel,
    Needle::Status,
];

/// The most records that a line is split into; the last one holds the rest.
const RECORDS_MAX: usize = 8;

/// Hands every record of `line` to `read`.
#[inline]
pub(crate) fn for_each_record<'a>(
    line: &'a [u8],
    needles: Needles<'_>,
    mut read: impl FnMut(&LogRecord<'a>),
) {
    let mut record = LogRecord::new(line);
    // A line that begins with one of these prefixes is one record, unless a status line stands in
    // it: a compiler writes that into the stream without waiting for the end of a line.
    let is_whole =
        matches!(record.logger, Logger::Neuron | Logger::Wrapper) && !needles.has(Needle::Status);
    if !is_whole && SPLITTING.iter().any(|needle| needles.has(*needle)) {
        let mut rest = line;
        for _ in 0..RECORDS_MAX {
            let Some(at) = second_record(rest) else { break };
            read(&LogRecord::new(&rest[..at]));
            rest = &rest[at..];
            record = LogRecord::new(rest);
        }
    }
    read(&record);
}

/// The index at which a second record starts: behind a status, or behind another program's text.
fn second_record(line: &[u8]) -> Option<usize> {
    if let Some(end) = status_end(line) {
        let rest = &line[end..];
        let blanks = rest.len() - rest.trim_ascii_start().len();
        let follows = blanks > 0 || starts_with_level(rest);
        if follows && blanks < rest.len() {
            return Some(end + blanks);
        }
    }
    let start = record_start(line)?;
    let before = &line[..start];
    // Source code and documentation quote records.
    let comment = before.starts_with(b"#") || before.trim_ascii_end().ends_with(b"#");
    let quoted = comment || matches!(before.last(), Some(b'"' | b'\'' | b'`'));
    // What stands before the level may be a prefix of the same record, such as a time.
    let record = LogRecord::new(before);
    let is_text = !record.body.is_empty() && !record.body.ends_with(b":");
    (is_text && !quoted).then_some(start)
}

/// The end of `Compiler status PASS` when something stands behind it.
fn status_end(line: &[u8]) -> Option<usize> {
    let at = find(line, b"Compiler status ")? + "Compiler status ".len();
    let word = ["PASS", "ERROR"]
        .iter()
        .find(|word| line[at..].starts_with(word.as_bytes()))?;
    Some(at + word.len())
}

fn starts_with_level(text: &[u8]) -> bool {
    ["INFO", "WARNING", "ERROR"]
        .iter()
        .any(|level| text.starts_with(level.as_bytes()))
}

/// The index at which `INFO:Neuron:`, `INFO ||NAME||: ` or `[INFO]: ` starts.
fn record_start(line: &[u8]) -> Option<usize> {
    let level = |at: usize| {
        let before = &line[..at];
        let mut levels = ["INFO", "WARNING", "ERROR"].iter();
        levels
            .find(|level| before.ends_with(level.as_bytes()))
            .map(|level| at - level.len())
    };
    if let Some(start) = find(line, b":Neuron:").and_then(level) {
        return Some(start);
    }
    if let Some(start) = find(line, b" ||").and_then(level) {
        return Some(start);
    }
    let start = find(line, b"]: ").and_then(level)?;
    (start > 0 && line[start - 1] == b'[').then(|| start - 1)
}
