//! torch-neuronx: its partitioner, the only source of figures per operator on these chips.

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;
use crate::reading::{LogError, OperatorCount, Partition, Partitioning, Producer};
use crate::text::scan::{Scan, after, before, is_operator};

/// Where the partitioner is in its output.
#[derive(Default)]
pub(super) struct TorchNeuronx {
    /// True behind the head of the first list of operators.
    is_listing: bool,
}

impl LineFormat for TorchNeuronx {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let known = match record.body.first() {
            Some(b'N') => announced(record.body, findings),
            Some(b'C') => created(record.body, findings),
            Some(b'M') => support(record.body, findings),
            Some(b'T') => self.list_head(record.body),
            Some(b'a' | b'p') if self.is_listing => operator(record.body, findings),
            Some(b'V') => refused(record, findings),
            _ => return false,
        };
        if known.is_some() {
            findings.recognise(Producer::TorchNeuronx);
        }
        known.is_some()
    }
}

impl TorchNeuronx {
    fn list_head(&mut self, body: &[u8]) -> Option<()> {
        let head = b"The following operators will be included in this partition:";
        let is_head = body.starts_with(head);
        self.is_listing |= is_head;
        is_head.then_some(())
    }
}

fn partitioning(findings: &mut Findings) -> &mut Partitioning {
    findings.reading.partitioning.get_or_insert_default()
}

/// `Num Partitions: 2`.
fn announced(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Num Partitions: ")?;
    partitioning(findings).announced = Some(scan.count()?);
    Some(())
}

/// `Creating Partition #1 for device: Device.NEURON`.
fn created(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Creating Partition #")?;
    scan.count()?;
    scan.lit(" for device: ")?;
    let _ = scan.lit("Device.");
    let device = findings.text(scan.rest);
    let length = partitioning(findings).partitions.len();
    if findings.reserve("partitions", length, device.len()) {
        partitioning(findings).partitions.push(Partition {
            device,
            operators: Vec::new(),
        });
    }
    Some(())
}

/// `Model operator support is 100%` and `Model Support percentage of 85.71% above threshold`.
fn support(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    if scan.lit("Model operator support is ").is_none() {
        scan.lit("Model Support percentage of ")?;
    }
    let percent = scan.decimal()?;
    partitioning(findings).support_percent = Some(percent);
    Some(())
}

/// `aten::linear:3`, an operator of the last partition.
fn operator(body: &[u8], findings: &mut Findings) -> Option<()> {
    let colon = memchr::memrchr(b':', body)?;
    let (name, mut count) = (&body[..colon], Scan::new(&body[colon + 1..]));
    count.blanks();
    let count = count.count()?;
    if !is_operator(name) {
        return None;
    }
    let length = partitioning(findings).partitions.last()?.operators.len();
    let operator = findings.text(name);
    if findings.reserve("operators of a partition", length, operator.len()) {
        let partition = partitioning(findings).partitions.last_mut()?;
        partition.operators.push(OperatorCount {
            operator,
            count: usize::try_from(count).unwrap_or(usize::MAX),
        });
    }
    Some(())
}

/// A `ValueError` with which the partitioner refuses a model.
fn refused(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let message = record.body.strip_prefix(b"ValueError: ")?;
    let known = [
        "Model support percentage ",
        "The partitioner has found ",
        "Partitioner created a NEURON subgraph",
    ];
    known
        .iter()
        .find(|form| message.starts_with(form.as_bytes()))?;
    if let Some(rest) = after(message, "percentage of ") {
        let percent = Scan::new(before(rest, "%")).decimal();
        partitioning(findings).support_percent = percent;
    }
    findings.is_attempted = true;
    let error = LogError::of(findings.text(record.body));
    findings.count_error(error);
    Some(())
}
