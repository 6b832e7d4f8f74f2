//! NxD Inference: the durations of its steps, and its compiler flags.

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::{LogRecord, Logger};
use crate::reading::Producer;
use crate::text::scan::{Scan, after, before};

/// Each line says all by itself.
#[derive(Default)]
pub(super) struct NxdInference;

impl LineFormat for NxdInference {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let is_candidate = matches!(record.body.first(), Some(b'G' | b'D' | b'F' | b'N'));
        is_candidate && step(record, findings).is_some()
    }
}

/// The compiler flags and the duration of each step; NxD Inference logs as `Neuron` too.
fn step(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let body = record.body;
    let flags = after(body, "Neuron compiler flags: ").filter(|_| body.starts_with(b"Neuron "));
    if let Some(flags) = flags {
        let flags = findings.text(flags.trim_ascii());
        findings.reading.compiler_args.get_or_insert(flags);
        findings.recognise(Producer::NxdInference);
        return Some(());
    }
    if record.logger != Logger::Neuron {
        return None;
    }
    if body.starts_with(b"Generating HLOs for the following models") {
        findings.recognise(Producer::NxdInference);
        return Some(());
    }
    let rest = after(body, " in ")?;
    let mut scan = Scan::new(rest);
    let seconds = scan.decimal()?;
    scan.lit(" seconds")?;
    let timings = &mut findings.reading.timings;
    let field = match before(body, " in ") {
        b"Generated all HLOs" => &mut timings.generate_hlo_s,
        b"Done compilation for the priority HLO" => &mut timings.priority_hlo_s,
        b"Finished Compilation for all HLOs" => &mut timings.all_hlos_s,
        b"Finished building model" => &mut timings.total_s,
        _ => return None,
    };
    *field = Some(seconds);
    findings.recognise(Producer::NxdInference);
    Some(())
}
