//! optimum-neuron: the components of a model, their arguments and durations.

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;
use crate::limits::TEXT_MAX;
use crate::reading::{LogError, Producer, RunName};
use crate::text::scan::Scan;

/// Each line says all by itself.
#[derive(Default)]
pub(super) struct OptimumNeuron;

impl LineFormat for OptimumNeuron {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let body = record.body;
        let known = match body.first() {
            Some(b'*') => compiling(body, findings),
            Some(b'[') => compilation_time(body, findings),
            Some(b'U') => using(body, findings),
            Some(b'M') => cached_in(body, findings),
            Some(b'A') => failed_trace(record, findings),
            _ => None,
        };
        known.is_some()
    }
}

/// `***** Compiling encoder *****`.
fn compiling(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("***** Compiling ")?;
    let name = scan.until(" *****")?;
    let name = findings.text(name);
    findings.recognise(Producer::OptimumNeuron);
    findings.is_attempted = true;
    findings.close_run();
    findings.new_run().name = Some(RunName::Component(name));
    Some(())
}

/// `[Compilation Time] 380.29 seconds.` and `[Total compilation Time] 544.78 seconds.`.
fn compilation_time(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    let total = scan.lit("[Total compilation Time] ").is_some();
    if !total {
        scan.lit("[Compilation Time] ")?;
    }
    let seconds = scan.decimal()?;
    findings.recognise(Producer::OptimumNeuron);
    findings.count_success();
    if total {
        findings.reading.timings.total_s = Some(seconds);
    } else {
        findings.run().elapsed_s = Some(seconds);
        findings.close_run();
    }
    Some(())
}

/// `Using Neuron: --auto-cast all`.
fn using(body: &[u8], findings: &mut Findings) -> Option<()> {
    let argument = body.strip_prefix(b"Using Neuron: ")?;
    if !argument.starts_with(b"-") {
        return None;
    }
    findings.recognise(Producer::OptimumNeuron);
    let argument = findings.text(argument.trim_ascii());
    let joined = findings.run().compiler_args.get_or_insert_default();
    if joined.len() + argument.len() < TEXT_MAX {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&argument);
    }
    Some(())
}

/// `Model cached in: PATH.`
fn cached_in(body: &[u8], findings: &mut Findings) -> Option<()> {
    let known = body.starts_with(b"Model cached in: ");
    known.then(|| findings.recognise(Producer::OptimumNeuron))
}

/// `An error occured when trying to trace X with the error message: …`.
fn failed_trace(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let body = record.body;
    if !body.starts_with(b"An error occured when trying to trace ")
        && !body.starts_with(b"An error occurred when trying to trace ")
    {
        return None;
    }
    findings.recognise(Producer::OptimumNeuron);
    findings.is_attempted = true;
    let error = LogError::of(findings.text(body));
    findings.count_error(error);
    Some(())
}
