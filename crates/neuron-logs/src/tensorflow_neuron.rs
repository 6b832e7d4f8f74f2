//! tensorflow-neuron (inf1): sub-graphs fused, nodes placed, and the sweeps of its tutorials.

use super::book::Book;
use super::command;
use super::reading::{
    Function, LIST_MAX, NoticeKind, Outcome, Placement, Producer, Run, RunName, Screening,
};
use super::records::Record;
use super::scan::{Scan, after, before};
use super::torch_neuron;

/// Conversions as TensorFlow logs them, and configurations as a sweep prints them: the same
/// compilations, possibly far apart in the log.
#[derive(Default)]
pub(super) struct TensorflowNeuron {
    conversions: Vec<Run>,
    configurations: Vec<Run>,
    /// Whether the last conversion is still being described.
    open: bool,
}

impl TensorflowNeuron {
    /// Reads a line; false if it is none of this producer.
    pub(super) fn line(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        let known = match record.body.first() {
            Some(b'f') => self.fusing(record.body, book),
            Some(b'F') => self.failed_to_fuse(record, book),
            Some(b'N') => self.placement(record.body, book),
            Some(b'S' | b'C') => self.converted(record, book),
            Some(b'T') => screening(record.body, book),
            Some(b'*') => self.configuration(record.body, book),
            Some(b'I' | b'E') => self.finished(record.body, book),
            Some(b'W' | b'Y') => self.share(record.body, book),
            Some(b'n') => neuron_cc_message(record.body),
            _ => return false,
        };
        if known.is_some() {
            book.saw(Producer::TensorflowNeuron);
        }
        known.is_some()
    }

    fn conversion(&mut self, book: &mut Book) -> Option<&mut Run> {
        if !self.open {
            let length = self.conversions.len();
            if !book.room("conversions", length, size_of::<Run>()) {
                return None;
            }
            self.conversions.push(Run::default());
            self.open = true;
        }
        self.conversions.last_mut()
    }

    /// `fusing subgraph NAME with neuron-cc; log file is at PATH`.
    fn fusing(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("fusing subgraph ")?;
        let function = Function {
            name: Some(subgraph(&mut scan, book)?),
            log_file: after(scan.rest, "log file is at ").map(|path| book.text(path)),
            ..Function::default()
        };
        book.attempted = true;
        let run = self.conversion(book)?;
        if run.functions.len() < FUNCTIONS_MAX {
            run.functions.push(function);
        }
        Some(())
    }

    /// `Failed to fuse subgraph NAME with 'COMMAND'`.
    fn failed_to_fuse(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        scan.lit("Failed to fuse subgraph ")?;
        let name = subgraph(&mut scan, book)?;
        let mut function = command::neuron_cc(scan.rest, book);
        function.name = Some(name.clone());
        book.attempted = true;
        book.notice(NoticeKind::Fallback, record);
        let run = self.conversion(book)?;
        let known = |known: &Function| known.name.as_ref() == Some(&name);
        match run.functions.iter().position(known) {
            Some(index) => {
                function.log_file = run.functions[index].log_file.take();
                run.functions[index] = function;
            }
            None if run.functions.len() < FUNCTIONS_MAX => run.functions.push(function),
            None => {}
        }
        if run.failed_functions.len() < FUNCTIONS_MAX {
            run.failed_functions.push(name);
        }
        Some(())
    }

    fn placement(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("Number of operations ")?;
        let field = if scan.lit("in TensorFlow session: ").is_some() {
            |placement: &mut Placement, count| placement.in_session = Some(count)
        } else if scan.lit("after tf.neuron optimizations: ").is_some() {
            |placement: &mut Placement, count| placement.after_optimisation = Some(count)
        } else {
            scan.lit("placed on Neuron runtime: ")?;
            |placement: &mut Placement, count| placement.on_neuron = Some(count)
        };
        let count = scan.count()?;
        field(
            self.conversion(book)?.placement.get_or_insert_default(),
            count,
        );
        Some(())
    }

    /// `Successfully converted A to B` and `Converted A to B but no operator will be running`.
    fn converted(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        let usable = scan.lit("Successfully converted ").is_some();
        if !usable {
            scan.lit("Converted ")?;
        }
        scan.until(" to ")?;
        let name = scan.take_while(|byte| byte != b' ');
        if !usable {
            scan.lit(" but no operator will be running")?;
            book.notice(NoticeKind::NothingPlaced, record);
        }
        let name = book.text(name);
        let run = self.conversion(book)?;
        run.name = Some(RunName::Model(name));
        run.outcome = Some(if usable { Outcome::Pass } else { Outcome::Fail });
        self.open = false;
        Some(())
    }

    /// `*** Batch size 1, num NeuronCores 2 (…) ***`.
    fn configuration(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("*** Batch size ")?;
        let batch = scan.count()?;
        scan.lit(", num NeuronCores ")?;
        let cores = scan.count()?;
        let length = self.configurations.len();
        if book.room("configurations", length, size_of::<Run>()) {
            self.configurations.push(Run {
                batch: Some(batch),
                cores: Some(cores),
                ..Run::default()
            });
        }
        Some(())
    }

    /// `INFO: Compilation finished in 60 seconds with 99.5% operations placed on Inferentia`.
    fn finished(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        let usable = scan.lit("INFO: ").is_some();
        if !usable {
            scan.lit("ERROR: ")?;
        }
        scan.lit("Compilation finished in ")?;
        let seconds = scan.decimal()?;
        scan.lit(" seconds with ")?;
        if !usable {
            scan.until("(")?;
        }
        let percent = scan.decimal()?;
        scan.lit("%")?;
        book.attempted = true;
        let described = self
            .configurations
            .last()
            .is_some_and(|run| run.outcome.is_none());
        if !described {
            let length = self.configurations.len();
            if !book.room("configurations", length, size_of::<Run>()) {
                return Some(());
            }
            self.configurations.push(Run::default());
        }
        let run = self.configurations.last_mut()?;
        run.elapsed_s = Some(seconds);
        run.placement.get_or_insert_default().percent = Some(percent);
        run.outcome = Some(if usable { Outcome::Pass } else { Outcome::Fail });
        Some(())
    }

    /// `Warning: Your traced model has -300.0% of operators compiled to neuron`.
    fn share(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        let _ = scan.lit("Warning: ");
        scan.lit("Your traced model has ")?;
        let percent = scan.decimal()?;
        scan.lit("% of operators compiled")?;
        if (0.0..=100.0).contains(&percent) {
            let placement = &mut self.conversion(book)?.placement;
            placement.get_or_insert_default().percent = Some(percent);
        } else {
            book.reading.implausible_percent.get_or_insert(percent);
        }
        Some(())
    }

    /// Makes runs of what was collected. The two accounts are joined where they have one length.
    pub(super) fn finish(self, book: &mut Book) {
        let mut runs = if self.configurations.is_empty() {
            self.conversions
        } else {
            let mut runs = self.configurations;
            if runs.len() == self.conversions.len() {
                for (run, conversion) in runs.iter_mut().zip(self.conversions) {
                    join(run, conversion);
                }
            }
            runs
        };
        for run in &mut runs {
            if run.outcome.is_none() && run.placement.is_some_and(|it| it.on_neuron == Some(0)) {
                run.outcome = Some(Outcome::Fail);
            }
        }
        let room = LIST_MAX.saturating_sub(book.reading.runs.len());
        if runs.len() > room {
            let beyond = &mut book.reading.skipped.beyond_bounds;
            *beyond.entry("runs".to_owned()).or_default() += (runs.len() - room) as u64;
            runs.truncate(room);
        }
        book.reading.runs.append(&mut runs);
    }
}

/// More sub-graphs of one conversion are not listed.
const FUNCTIONS_MAX: usize = 256;

fn join(run: &mut Run, conversion: Run) {
    let percent = run.placement.and_then(|placement| placement.percent);
    run.placement = conversion.placement.or(run.placement);
    if let Some(placement) = &mut run.placement {
        placement.percent = percent;
    }
    run.name = conversion.name;
    run.functions = conversion.functions;
    run.failed_functions = conversion.failed_functions;
}

/// `NAME with …` or `{subgraph NAME with input tensors …} with …`.
fn subgraph(scan: &mut Scan<'_>, book: &mut Book) -> Option<String> {
    let name = if scan.lit("{subgraph ").is_some() {
        let name = scan.until(" with ")?;
        scan.until("} with ")?;
        name
    } else {
        scan.until(" with ")?
    };
    Some(book.text(name))
}

/// `There are 3 ops of 2 different types in the graph that are not compiled by neuron-cc: …`.
fn screening(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("There are ")?;
    let count = scan.count()?;
    scan.lit(" ops of ")?;
    let types = scan.count()?;
    scan.lit(" different types in the graph that are not compiled by neuron-cc: ")?;
    if book.reading.screening.is_none() {
        let operators = torch_neuron::names(before(scan.rest, "(For more"), book);
        book.reading.screening = Some(Screening::Unsupported {
            count,
            types,
            operators,
        });
    }
    Some(())
}

fn neuron_cc_message(body: &[u8]) -> Option<()> {
    body.starts_with(b"neuron-cc error message:").then_some(())
}
