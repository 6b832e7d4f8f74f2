//! neuronx-cc, and what it shares with neuron-cc: status lines, usage errors.

use super::line_format::LineFormat;
use super::{command_line, error_codes, wrapper};
use crate::findings::{ErrorOrigin, Findings};
use crate::framing::needles::{Needle, Needles};
use crate::framing::record::{LogRecord, Logger};
use crate::reading::{CompilerStatus, LogError, Producer};
use crate::text::scan::{Scan, after, before, contains};

/// The start of every status line.
const STATUS: &str = "Compiler status ";

/// Each line says all by itself; what connects them is in the findings.
#[derive(Default)]
pub(super) struct NeuronxCc;

impl LineFormat for NeuronxCc {
    fn read(
        &mut self,
        record: &LogRecord<'_>,
        needles: Needles<'_>,
        findings: &mut Findings,
    ) -> bool {
        // A line of the wrapper may hold a code of the compiler too. The wrapper comes first: it
        // says whether an error is an old one.
        let is_wrapper = wrapper::read(record, findings);
        read_compiler(record, needles, findings) || is_wrapper
    }
}

fn read_compiler(record: &LogRecord<'_>, needles: Needles<'_>, findings: &mut Findings) -> bool {
    if needles.has(Needle::Status) && status(record.body, findings).is_some() {
        return true;
    }
    let known = match record.body.first() {
        Some(b'C') => completed(record.body, findings),
        Some(b'S') => exit_code(record.body, findings),
        Some(b'/') => called(record, findings),
        Some(b'R') => failed_with(record, findings),
        Some(b'n' | b'u') => usage(record, findings),
        _ => None,
    };
    error_codes::read(record, needles, findings) || known.is_some()
}

/// `Compiler status PASS`, but not where a program or a page quotes it.
fn status(body: &[u8], findings: &mut Findings) -> Option<()> {
    let rest = after(body, STATUS)?;
    let quoted = body.len() > rest.len() + STATUS.len()
        && matches!(
            body[body.len() - rest.len() - STATUS.len() - 1],
            b'"' | b'\'' | b'`'
        );
    let mut scan = Scan::new(rest);
    let status = match scan.take_while(|byte| byte.is_ascii_alphanumeric()) {
        b"PASS" => CompilerStatus::Pass,
        b"ERROR" => CompilerStatus::Error,
        _ => return None,
    };
    if quoted || matches!(scan.rest.first(), Some(b'"' | b'\'' | b'`' | b'_')) {
        return None;
    }
    findings.status_line(status);
    findings.recognise(Producer::Unnamed);
    Some(())
}

fn completed(body: &[u8], findings: &mut Findings) -> Option<()> {
    let backend = body.starts_with(b"Completed run_backend_driver.");
    backend.then(|| findings.recognise(Producer::NeuronxCc))
}

/// `Subcommand returned with exitcode=70`.
fn exit_code(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Subcommand returned with exitcode=")?;
    let code = scan.signed()?;
    findings.recognise(Producer::NeuronxCc);
    // The exit code of a replayed or foreign compilation is none of this log's graphs.
    if findings.origin == ErrorOrigin::Own && findings.is_attempted {
        findings.graph_exit(code);
    }
    // The first failure says more than the first success.
    if findings.reading.exit_code.is_none_or(|known| known == 0) {
        findings.reading.exit_code = Some(code);
    }
    Some(())
}

/// `/opt/…/bin/neuronx-cc compile …`, the first record of a `log-neuron-cc.txt`.
fn called(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    if record.logger != Logger::NeuronxCc {
        return None;
    }
    let program = before(record.body, " ");
    let behind = after(program, "/neuronx-cc")?;
    if !behind.is_empty() {
        return None;
    }
    findings.recognise(Producer::NeuronxCc);
    if !contains(record.body, " --help") {
        findings.is_attempted = true;
        findings.origin = ErrorOrigin::Own;
        findings.graph_begins(record.body);
        command_line::neuronx_cc(record.body, findings);
    }
    Some(())
}

/// `RuntimeError: neuronx-cc failed with 70`.
fn failed_with(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("RuntimeError: neuronx-cc failed with ")?;
    let code = scan.signed()?;
    findings.recognise(Producer::TorchNeuronx);
    findings.is_attempted = true;
    findings.graph_exit(code);
    // Python only passes on what the compiler reported just before.
    if let Some(last) = findings.reading.errors.last_mut() {
        last.exit_status.get_or_insert(code);
        return Some(());
    }
    let error = LogError {
        exit_status: Some(code),
        ..LogError::of(findings.text(record.body))
    };
    findings.count_compiler_error(error);
    Some(())
}

/// The usage and the error that argparse prints when the arguments are wrong.
fn usage(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    if scan.lit("usage: ").is_some() {
        findings.recognise(compiler_named(&mut scan)?);
        findings.is_attempted = true;
        // The error stands in a line of its own, which may be missing.
        let line = findings.text(record.body);
        findings.vague_error.get_or_insert(line);
        return Some(());
    }
    let compiler = compiler_named(&mut scan)?;
    let words = before(scan.rest, ": error: ");
    let is_plain = words
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(byte));
    if !is_plain || words.len() == scan.rest.len() {
        return None;
    }
    findings.recognise(compiler);
    findings.is_attempted = true;
    let error = LogError::of(findings.text(record.body));
    findings.count_compiler_error(error);
    Some(())
}

/// Takes the name of a compiler.
fn compiler_named(scan: &mut Scan<'_>) -> Option<Producer> {
    if scan.lit("neuronx-cc").is_some() {
        return Some(Producer::NeuronxCc);
    }
    scan.lit("neuron-cc").map(|()| Producer::NeuronCc)
}
