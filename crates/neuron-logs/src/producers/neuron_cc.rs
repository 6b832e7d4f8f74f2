//! The block that neuron-cc and neuronx-cc print when they fail, errors outside of a block, and the
//! compilers' versions and times.
//!
//! ```text
//! ERROR 12 [neuron-cc]: ****************
//! ERROR 12 [neuron-cc]:  An Internal Compiler Error has occurred
//! ERROR 12 [neuron-cc]: ****************
//! ERROR 12 [neuron-cc]: Error message:  …
//! ERROR 12 [neuron-cc]: Error class:    …
//! ERROR 12 [neuron-cc]: Command line: …
//! ```

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::{LogLevel, LogRecord, Logger};
use crate::framing::timestamp::Timestamp;
use crate::reading::{LogError, Producer};
use crate::text::scan::{Scan, after};

/// The most lines of other programs between the lines of a block: a progress bar or a warning may
/// stand there, more is another part of the log.
const FOREIGN_MAX: usize = 16;

/// The block that is being read, and the times that the compiler writes.
#[derive(Default)]
pub(super) struct NeuronCc {
    /// The error of a block, once its message was read.
    open: Option<LogError>,
    /// True behind the stars at the head of a block, as long as the compiler goes on.
    in_block: bool,
    /// Lines of other programs since the compiler's last.
    foreign: usize,
    /// True when the line before was an error outside of a block.
    in_loose_error: bool,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl LineFormat for NeuronCc {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        if matches!(record.logger, Logger::NeuronCc | Logger::NeuronxCc) {
            self.note_time(record);
            self.foreign = 0;
        } else {
            self.foreign += 1;
            // The program that called the compiler goes on: the compiler has ended.
            let from_caller = matches!(
                record.logger,
                Logger::Neuron | Logger::Tensorflow | Logger::Wrapper
            );
            self.in_block &= !from_caller && self.foreign <= FOREIGN_MAX;
            self.in_loose_error = false;
        }
        let known = match record.body.first() {
            Some(b'E') => self.field(record, findings),
            Some(b'A' | b'*' | b'C') => self.end(record, findings),
            Some(b'N') => version(record.body, findings),
            _ => None,
        };
        known.is_some()
    }

    /// An error outside of a block: its first line says what is wrong, and those behind it are the
    /// same error.
    fn read_rest(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> bool {
        let names = [&b"neuron-cc"[..], b"neuronx-cc"];
        let is_error = record.level == LogLevel::Error && names.contains(&record.component);
        // The head of a block, whatever other programs wrote between its lines.
        let head = b"An Internal Compiler Error has occurred";
        self.in_block |= is_error && record.body.trim_ascii().starts_with(head);
        if !is_error || self.in_block {
            self.in_loose_error = false;
            return is_error;
        }
        if !std::mem::replace(&mut self.in_loose_error, true) {
            findings.recognise(producer(record));
            findings.is_attempted = true;
            let error = LogError {
                function: findings.function.clone(),
                ..LogError::of(findings.text(record.body))
            };
            findings.count_compiler_error(error);
        }
        true
    }

    fn finish(mut self, findings: &mut Findings) {
        self.close(findings);
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let seconds = last.seconds() - first.seconds();
            findings.reading.timings.span_s = (seconds >= 0).then_some(seconds as f64);
        }
    }
}

impl NeuronCc {
    fn note_time(&mut self, record: &LogRecord<'_>) {
        if let Some(time) = record.time {
            self.first.get_or_insert(time);
            self.last = Some(time);
        }
    }

    /// `Error message:`, which begins an error, and the fields behind it.
    fn field(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Error message:").is_some() {
            self.close(findings);
            self.in_block = true;
            findings.recognise(producer(record));
            findings.is_attempted = true;
            let exit_status = after(scan.rest, "exit status (").and_then(|rest| {
                let mut scan = Scan::new(rest);
                scan.signed()
            });
            self.open = Some(LogError {
                exit_status,
                function: findings.function.clone(),
                count: 1,
                ..LogError::of(findings.text(record.body))
            });
            return Some(());
        }
        let field = if scan.lit("Error class:").is_some() {
            |error: &mut LogError, value| error.class = Some(value)
        } else {
            scan.lit("Error location:")?;
            |error: &mut LogError, value| error.location = Some(value)
        };
        let value = findings.text(scan.rest.trim_ascii());
        field(self.open.as_mut()?, value);
        Some(())
    }

    /// The end of what is said about an error. A command line or the place of the artifacts comes
    /// after everything else in a block.
    fn end(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let body = record.body;
        let is_status = body.starts_with(b"Compiler status");
        let is_stars = body.starts_with(b"****") && record.level == LogLevel::Error;
        let is_last = body.starts_with(b"Artifacts stored in");
        let is_end = is_status || is_stars || is_last;
        self.in_block = is_stars || (self.in_block && !is_status && !is_last);
        if is_last && record.level == LogLevel::Error {
            self.close(findings);
            return Some(());
        }
        if !(is_end || body.starts_with(b"Command line:")) || self.open.is_none() {
            return None;
        }
        self.close(findings);
        // A status line has a meaning of its own, which another format reads.
        (!is_status).then_some(())
    }

    /// Reports the error of the block: only now all its fields are known.
    fn close(&mut self, findings: &mut Findings) {
        if let Some(error) = self.open.take() {
            let function = error.function.clone();
            if let Some(known) = findings.report_compiler_error(error)
                && known.function.is_none()
            {
                known.function = function;
            }
        }
    }
}

fn producer(record: &LogRecord<'_>) -> Producer {
    match record.logger {
        Logger::NeuronCc => Producer::NeuronCc,
        Logger::NeuronxCc => Producer::NeuronxCc,
        _ => Producer::Unnamed,
    }
}

/// `Neuron Compiler version V` and `NeuronX Compiler version V Python version …`.
fn version(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Neuron")?;
    let producer = match scan.lit("X") {
        Some(()) => Producer::NeuronxCc,
        None => Producer::NeuronCc,
    };
    scan.lit(" Compiler version ")?;
    let version = scan.take_while(|byte| byte != b' ');
    let version = findings.text(version);
    findings.recognise(producer);
    findings.reading.versions.compiler = Some(version);
    Some(())
}
