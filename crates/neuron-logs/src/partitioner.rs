//! The partitioner of torch-neuronx: the only source of per-operator figures on these chips.

use super::book::Book;
use super::reading::{LogError, OperatorCount, Partition, Partitioning, Producer};
use super::records::Record;
use super::scan::{Scan, after, before, is_operator};

/// Whether operators are being listed.
#[derive(Default)]
pub(super) struct Partitioner {
    listing: bool,
}

impl Partitioner {
    /// Reads a line; false if it is none of the partitioner.
    pub(super) fn line(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        let known = match record.body.first() {
            Some(b'N') => announced(record.body, book),
            Some(b'C') => created(record.body, book),
            Some(b'M') => support(record.body, book),
            Some(b'T') => self.list(record.body),
            Some(b'a' | b'p') if self.listing => operator(record.body, book),
            Some(b'V') => refused(record, book),
            _ => return false,
        };
        if known.is_some() {
            book.saw(Producer::TorchNeuronx);
        }
        known.is_some()
    }

    fn list(&mut self, body: &[u8]) -> Option<()> {
        let header = b"The following operators will be included in this partition:";
        self.listing |= body.starts_with(header);
        body.starts_with(header).then_some(())
    }
}

fn partitioning(book: &mut Book) -> &mut Partitioning {
    book.reading.partitioning.get_or_insert_default()
}

/// `Num Partitions: 2`.
fn announced(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Num Partitions: ")?;
    partitioning(book).announced = Some(scan.count()?);
    Some(())
}

/// `Creating Partition #1 for device: Device.NEURON`.
fn created(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Creating Partition #")?;
    scan.count()?;
    scan.lit(" for device: ")?;
    let _ = scan.lit("Device.");
    let device = book.text(scan.rest);
    let length = partitioning(book).partitions.len();
    if book.room("partitions", length, device.len()) {
        partitioning(book).partitions.push(Partition {
            device,
            operators: Vec::new(),
        });
    }
    Some(())
}

/// `Model operator support is 100%` and `Model Support percentage of 85.71% above threshold`.
fn support(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    if scan.lit("Model operator support is ").is_none() {
        scan.lit("Model Support percentage of ")?;
    }
    let percent = scan.decimal()?;
    partitioning(book).support_percent = Some(percent);
    Some(())
}

/// `aten::linear:3` of the last partition.
fn operator(body: &[u8], book: &mut Book) -> Option<()> {
    let colon = memchr::memrchr(b':', body)?;
    let (name, mut count) = (&body[..colon], Scan::new(&body[colon + 1..]));
    count.blanks();
    let count = count.count()?;
    if !is_operator(name) {
        return None;
    }
    let length = partitioning(book).partitions.last()?.operators.len();
    let operator = book.text(name);
    if book.room("operators of a partition", length, operator.len()) {
        let partition = partitioning(book).partitions.last_mut()?;
        partition.operators.push(OperatorCount {
            operator,
            count: usize::try_from(count).unwrap_or(usize::MAX),
        });
    }
    Some(())
}

/// The partitioner refuses a model with a `ValueError`.
fn refused(record: &Record<'_>, book: &mut Book) -> Option<()> {
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
        partitioning(book).support_percent = percent;
    }
    book.attempted = true;
    let error = LogError::of(book.text(record.body));
    book.count_error(error);
    Some(())
}
