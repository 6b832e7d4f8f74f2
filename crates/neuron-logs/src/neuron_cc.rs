//! The block that neuron-cc and neuronx-cc print when they fail, and the versions in it.

use super::book::Book;
use super::reading::{LogError, Producer};
use super::records::{Level, Logger, Record};
use super::scan::{Scan, after, contains};
use super::times::Time;

/// The block that is being read, and the times that the compiler writes.
#[derive(Default)]
pub(super) struct NeuronCc {
    open: Option<LogError>,
    /// Behind the stars at the head of a block, as long as the compiler goes on.
    in_block: bool,
    /// Lines of other programs since the compiler's last.
    foreign: usize,
    /// The line before was an error outside of a block.
    in_loose_error: bool,
    first: Option<Time>,
    last: Option<Time>,
}

/// A progress bar or a warning may stand between the lines of a block; more is another part of the log.
const FOREIGN_MAX: usize = 16;

impl NeuronCc {
    /// Reads a line; false if it is none of a compiler's own.
    pub(super) fn line(
        &mut self,
        record: &Record<'_>,
        function: Option<&String>,
        book: &mut Book,
    ) -> bool {
        if matches!(record.logger, Logger::NeuronCc | Logger::NeuronxCc) {
            self.clock(record);
            self.foreign = 0;
        } else {
            self.foreign += 1;
            let from_caller = matches!(
                record.logger,
                Logger::Neuron | Logger::Tensorflow | Logger::Wrapper
            );
            self.in_block &= !from_caller && self.foreign <= FOREIGN_MAX;
            self.in_loose_error = false;
        }
        let known = match record.body.first() {
            Some(b'E') => self.error(record, function, book),
            Some(b'A' | b'*' | b'C') => self.end(record, book),
            Some(b'N') => version(record.body, book),
            _ => None,
        };
        known.is_some()
    }

    /// An error outside of a block: its first line says what is wrong.
    pub(super) fn loose_error(
        &mut self,
        record: &Record<'_>,
        function: Option<&String>,
        book: &mut Book,
    ) -> bool {
        let names = [&b"neuron-cc"[..], b"neuronx-cc"];
        let is_error = record.level == Level::Error && names.contains(&record.component);
        // The head of a block, whatever other programs wrote between its lines.
        let head = b"An Internal Compiler Error has occurred";
        self.in_block |= is_error && record.body.trim_ascii().starts_with(head);
        if !is_error || self.in_block {
            self.in_loose_error = false;
            return is_error;
        }
        if !std::mem::replace(&mut self.in_loose_error, true) {
            book.saw(producer(record));
            book.attempted = true;
            let line = book.text(record.body);
            let error = LogError {
                line,
                function: function.cloned(),
                ..LogError::default()
            };
            book.count_error_of_compiler(error);
        }
        true
    }

    fn clock(&mut self, record: &Record<'_>) {
        if let Some(time) = record.time {
            self.first.get_or_insert(time);
            self.last = Some(time);
        }
    }

    fn error(
        &mut self,
        record: &Record<'_>,
        function: Option<&String>,
        book: &mut Book,
    ) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Error message:").is_some() {
            self.close(book);
            self.in_block = true;
            book.saw(producer(record));
            book.attempted = true;
            let line = book.text(record.body);
            let exit_status = after(scan.rest, "exit status (").and_then(|rest| {
                let mut scan = Scan::new(rest);
                scan.signed()
            });
            self.open = Some(LogError {
                line,
                exit_status,
                function: function.cloned(),
                count: 1,
                ..LogError::default()
            });
            return Some(());
        }
        let field = if scan.lit("Error class:").is_some() {
            |error: &mut LogError, value| error.class = Some(value)
        } else {
            scan.lit("Error location:")?;
            |error: &mut LogError, value| error.location = Some(value)
        };
        let value = book.text(scan.rest.trim_ascii());
        field(self.open.as_mut()?, value);
        Some(())
    }

    /// A command line or the place of the artifacts comes after everything about the error.
    fn end(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let body = record.body;
        let status = body.starts_with(b"Compiler status");
        let stars = body.starts_with(b"****") && record.level == Level::Error;
        let last = body.starts_with(b"Artifacts stored in");
        let ends = status || stars || last;
        self.in_block = stars || (self.in_block && !status && !last);
        if last && record.level == Level::Error {
            self.close(book);
            return Some(());
        }
        if !(ends || body.starts_with(b"Command line:")) || self.open.is_none() {
            return None;
        }
        self.close(book);
        // A status line has a meaning of its own.
        (!status).then_some(())
    }

    fn close(&mut self, book: &mut Book) {
        if let Some(error) = self.open.take() {
            let function = error.function.clone();
            if let Some(known) = book.report_of_compiler(error)
                && known.function.is_none()
            {
                known.function = function;
            }
        }
    }

    pub(super) fn finish(&mut self, book: &mut Book) {
        self.close(book);
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let seconds = last.seconds() - first.seconds();
            book.reading.timings.span_s = (seconds >= 0).then_some(seconds as f64);
        }
    }
}

fn producer(record: &Record<'_>) -> Producer {
    match record.logger {
        Logger::NeuronCc => Producer::NeuronCc,
        Logger::NeuronxCc => Producer::NeuronxCc,
        _ => Producer::Unnamed,
    }
}

/// `Neuron Compiler version V` and `NeuronX Compiler version V Python version …`.
fn version(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Neuron")?;
    let producer = match scan.lit("X") {
        Some(()) => Producer::NeuronxCc,
        None => Producer::NeuronCc,
    };
    scan.lit(" Compiler version ")?;
    let version = scan.take_while(|byte| byte != b' ');
    let version = book.text(version);
    book.saw(producer);
    book.reading.versions.compiler = Some(version);
    Some(())
}

/// The compiler version in a cache path, such as `neuronxcc-2.26.6360.0+6f180f47`.
pub(super) fn path_version(line: &[u8], book: &mut Book) {
    if book.reading.versions.compiler.is_some() {
        return;
    }
    for mark in ["neuronxcc-", "neuroncc-"] {
        let Some(rest) = after(line, mark) else {
            continue;
        };
        let wanted = |byte: &u8| byte.is_ascii_alphanumeric() || b".+".contains(byte);
        let length = rest.iter().position(|byte| !wanted(byte));
        let version = &rest[..length.unwrap_or(rest.len())];
        let numbered = version.first().is_some_and(u8::is_ascii_digit);
        if numbered && contains(version, ".") && contains(version, "+") {
            let version = book.text(version);
            book.reading.versions.compiler = Some(version);
            return;
        }
    }
}
