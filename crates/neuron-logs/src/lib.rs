//! Neuron compiler logs of any generation, read in constant memory.
//!
//! [`read`] turns bytes into [`reading::LogReading`]. `lines` finds physical lines, `records` strips
//! prefixes, and each producer of lines has a file with a small state machine: `torch_neuron`,
//! `tensorflow_neuron`, `neuron_cc`, `neuronx_cc`, `wrapper`, `partitioner`, `analyze`, `exporters`,
//! `python`. They write into a `book`, which holds every list to its bound. `verdict` draws the
//! conclusions when the log is over.

mod analyze;
mod book;
mod command;
mod exporters;
mod frequent;
mod graphs;
mod lines;
mod literal;
mod neuron_cc;
mod neuronx_cc;
mod partitioner;
mod python;
pub mod reading;
mod records;
mod scan;
mod tensorflow_neuron;
mod times;
mod torch_neuron;
mod verdict;
mod wrapper;

pub use analyze::DOCUMENT_BYTES_MAX;
pub use lines::LINE_BYTES_MAX;

use std::io::{self, Read};

use book::Book;
use lines::{Lines, Needle, Needles};
use reading::{LogReading, Skipped};
use records::{Layout, Logger, Record};
use scan::is_word;

/// Reads a log to its end. Fails only when the source cannot be read; a source without any known
/// line gives a reading that is not `recognised`.
pub fn read(source: impl Read) -> io::Result<LogReading> {
    let mut reader = Reader::default();
    let mut skipped = Skipped::default();
    let mut lines = Lines::new(source);
    lines.for_each(&mut skipped, |line, needles| reader.line(line, needles))?;
    Ok(reader.finish(&skipped))
}

/// `part` of `whole` in percent; 0 of nothing, as torch-neuron prints it.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}

/// All state machines, and the record before.
#[derive(Default)]
struct Reader {
    book: Book,
    torch_neuron: torch_neuron::TorchNeuron,
    tensorflow_neuron: tensorflow_neuron::TensorflowNeuron,
    neuron_cc: neuron_cc::NeuronCc,
    partitioner: partitioner::Partitioner,
    analyze: analyze::Analyze,
    exporters: exporters::Exporters,
    python: python::Python,
    duplicates: Duplicates,
    /// How many records ago a list of operators was read, if there was one.
    since_list: Option<usize>,
}

impl Reader {
    fn line(&mut self, line: &[u8], needles: Needles<'_>) {
        self.count_warnings(line, needles);
        if self.book.reading.versions.compiler.is_none() && needles.has(Needle::CompilerPath) {
            neuron_cc::path_version(line, &mut self.book);
        }
        let mut rest = line;
        let mut record = Record::new(line);
        let is_whole = matches!(record.logger, Logger::Neuron | Logger::Wrapper)
            && !needles.has(Needle::Status);
        if !is_whole && SPLITTING.iter().any(|needle| needles.has(*needle)) {
            for _ in 0..RECORDS_OF_A_LINE_MAX {
                let Some(at) = second_record(rest) else { break };
                self.record(&Record::new(&rest[..at]), needles);
                rest = &rest[at..];
                record = Record::new(rest);
            }
        }
        self.record(&record, needles);
    }

    fn count_warnings(&mut self, line: &[u8], needles: Needles<'_>) {
        let warnings = &mut self.book.reading.warnings;
        if needles.has(Needle::Warn) {
            warnings.logger += u64::from(has_word(line, b"WARNING"));
            warnings.runtime += u64::from(scan::contains(line, " WARN "));
        }
        warnings.python += u64::from(needles.has(Needle::PythonWarning));
    }

    fn record(&mut self, record: &Record<'_>, needles: Needles<'_>) {
        if record.body.is_empty() {
            if record.dots == ELISION_DOTS && self.is_listing() {
                self.book.elide();
            } else {
                self.book.dots(record);
            }
            return;
        }
        self.book.dots(record);
        if self.duplicates.is_one(record) {
            self.book.reading.skipped.duplicates += 1;
            return;
        }
        self.python.line(record, needles, &mut self.book);
        self.since_list = match is_of_list(record.body) {
            true => Some(0),
            false => self.since_list.map(|count| count.saturating_add(1)),
        };
        if self.analyze.is_inside(record) {
            self.analyze.line(record, &mut self.book);
            return;
        }
        // Most lines of a log are those of lists, and no other producer writes such lines.
        if self.since_list == Some(0)
            && record.logger == Logger::Neuron
            && torch_neuron::is_listed(record, &mut self.book)
        {
            return;
        }
        let function = self.torch_neuron.function.as_ref();
        let known = self.neuron_cc.line(record, function, &mut self.book)
            || wrapper_and_code(record, needles, &mut self.book)
            || self.analyze.line(record, &mut self.book)
            || self.torch_neuron.line(record, &mut self.book)
            || self.partitioner.line(record, &mut self.book)
            || self.tensorflow_neuron.line(record, &mut self.book)
            || self.exporters.line(record, &mut self.book)
            || {
                let function = self.torch_neuron.function.as_ref();
                self.neuron_cc.loose_error(record, function, &mut self.book)
            };
        if known && self.since_list != Some(0) {
            self.since_list = None;
        }
    }

    /// Whether the record before was one of a list of operators.
    fn is_listing(&self) -> bool {
        self.since_list == Some(0) || self.analyze.is_listing()
    }

    fn finish(mut self, skipped: &Skipped) -> LogReading {
        let end = verdict::End {
            // The last line may be cut too, and then it is not known as one of the list.
            in_operators: self.since_list.is_some_and(|count| count <= 1),
            in_analysis: self.analyze.finish(&mut self.book),
        };
        self.neuron_cc.finish(&mut self.book);
        self.torch_neuron.finish(&mut self.book);
        self.tensorflow_neuron.finish(&mut self.book);
        self.exporters.finish(&mut self.book);
        self.python.finish(&mut self.book);
        self.book.finish();
        let known = &mut self.book.reading.skipped;
        known.lines = skipped.lines;
        known.bytes = skipped.bytes;
        known.long_lines = skipped.long_lines;
        known.long_line_bytes = skipped.long_line_bytes;
        verdict::finish(self.book, end)
    }
}

/// Whether a record is an entry or the head of a list of operators.
fn is_of_list(body: &[u8]) -> bool {
    match body.first() {
        Some(b'=' | b' ') => body.trim_ascii_start().starts_with(b"=> "),
        Some(b'C') => body.starts_with(b"Compiled these operators"),
        Some(b'N') => body.starts_with(b"Not compiled operators"),
        _ => false,
    }
}

/// A line of the wrapper may hold a code too.
fn wrapper_and_code(record: &Record<'_>, needles: Needles<'_>, book: &mut Book) -> bool {
    let wrapped = wrapper::line(record, book);
    neuronx_cc::line(record, needles, book) || wrapped
}

/// Among operators, where no compiler runs, a line of three dots is a person's.
const ELISION_DOTS: u64 = 3;

/// A line with one of these may hold more than one record.
const SPLITTING: [Needle; 4] = [
    Needle::NeuronLogger,
    Needle::Bars,
    Needle::BracketedLevel,
    Needle::Status,
];

/// More records of one line are read as one.
const RECORDS_OF_A_LINE_MAX: usize = 8;

/// Where a second record starts in a line: behind a status, or behind another program's text.
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
    let comment = before.starts_with(b"#") || before.trim_ascii_end().ends_with(b"#");
    let quoted = comment || matches!(before.last(), Some(b'"' | b'\'' | b'`'));
    // Prefixes of a record are no record of their own.
    let record = Record::new(before);
    let is_text = !record.body.is_empty() && !record.body.ends_with(b":");
    (is_text && !quoted).then_some(start)
}

/// The end of `Compiler status PASS` when something stands behind it.
fn status_end(line: &[u8]) -> Option<usize> {
    let at = scan::find(line, b"Compiler status ")? + "Compiler status ".len();
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

/// Where `INFO:Neuron:`, `INFO ||NAME||: ` or `[INFO]: ` starts in a line.
fn record_start(line: &[u8]) -> Option<usize> {
    let level = |at: usize| {
        let before = &line[..at];
        let mut levels = ["INFO", "WARNING", "ERROR"].iter();
        levels
            .find(|level| before.ends_with(level.as_bytes()))
            .map(|level| at - level.len())
    };
    if let Some(start) = scan::find(line, b":Neuron:").and_then(level) {
        return Some(start);
    }
    if let Some(start) = scan::find(line, b" ||").and_then(level) {
        return Some(start);
    }
    let start = scan::find(line, b"]: ").and_then(level)?;
    (start > 0 && line[start - 1] == b'[').then(|| start - 1)
}

/// Whether `line` holds `word` and no longer word around it.
fn has_word(line: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find_iter(line, word).any(|at| {
        let before = at.checked_sub(1).map(|at| line[at]);
        let after = line.get(at + word.len()).copied();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Records that a second log handler repeats.
#[derive(Default)]
struct Duplicates {
    body: Vec<u8>,
    layout: Layout,
    /// Layouts of handlers that were seen to repeat another one.
    secondary: [bool; 5],
}

impl Duplicates {
    fn is_one(&mut self, record: &Record<'_>) -> bool {
        if record.logger != Logger::Neuron {
            return false;
        }
        let same = self.body == record.body;
        let index = record.layout as usize;
        if same && self.layout != record.layout && !self.secondary[self.layout as usize] {
            self.secondary[index] = true;
        }
        if self.secondary[index] || (same && self.layout == record.layout) {
            return true;
        }
        self.body.clear();
        self.body.extend_from_slice(record.body);
        self.layout = record.layout;
        false
    }
}
