//! tensorflow-neuron (inf1): sub-graphs fused, nodes placed, and the sweeps of its tutorials.

use super::line_format::LineFormat;
use super::{command_line, operator_list};
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::LogRecord;
use crate::limits::LIST_MAX;
use crate::reading::{
    CompilationOutcome, LogFunction, LogRun, NodePlacement, NoticeKind, OperatorScreening,
    Producer, RunName,
};
use crate::text::scan::{Scan, after, before};

/// Conversions as TensorFlow logs them, and configurations as a sweep prints them: the same
/// compilations, possibly far apart in the log.
#[derive(Default)]
pub(super) struct TensorflowNeuron {
    conversions: Vec<LogRun>,
    configurations: Vec<LogRun>,
    /// True while the last conversion is being described.
    is_open: bool,
}

impl LineFormat for TensorflowNeuron {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let known = match record.body.first() {
            Some(b'f') => self.fusing(record.body, findings),
            Some(b'F') => self.failed_to_fuse(record, findings),
            Some(b'N') => self.placement(record.body, findings),
            Some(b'S' | b'C') => self.converted(record, findings),
            Some(b'T') => screening(record.body, findings),
            Some(b'*') => self.configuration(record.body, findings),
            Some(b'I' | b'E') => self.finished(record.body, findings),
            Some(b'W' | b'Y') => self.share(record.body, findings),
            Some(b'n') => neuron_cc_message(record.body),
            _ => return false,
        };
        if known.is_some() {
            findings.recognise(Producer::TensorflowNeuron);
        }
        known.is_some()
    }

    /// Makes runs of what was collected. The two accounts are of the same compilations where they
    /// have the same length, and are joined.
    fn finish(self, findings: &mut Findings) {
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
                run.outcome = Some(CompilationOutcome::Fail);
            }
        }
        let room = LIST_MAX.saturating_sub(findings.reading.runs.len());
        if runs.len() > room {
            findings.count_beyond_bounds("runs", (runs.len() - room) as u64);
            runs.truncate(room);
        }
        findings.reading.runs.append(&mut runs);
    }
}

impl TensorflowNeuron {
    /// The conversion that lines belong to now; `None` when it is beyond the bounds.
    fn conversion(&mut self, findings: &mut Findings) -> Option<&mut LogRun> {
        if !self.is_open {
            let length = self.conversions.len();
            if !findings.reserve("conversions", length, size_of::<LogRun>()) {
                return None;
            }
            self.conversions.push(LogRun::default());
            self.is_open = true;
        }
        self.conversions.last_mut()
    }

    /// `fusing subgraph NAME with neuron-cc; log file is at PATH`.
    fn fusing(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("fusing subgraph ")?;
        let function = LogFunction {
            name: Some(subgraph(&mut scan, findings)?),
            log_file: after(scan.rest, "log file is at ").map(|path| findings.text(path)),
            ..LogFunction::default()
        };
        findings.is_attempted = true;
        let run = self.conversion(findings)?;
        if run.functions.len() < FUNCTIONS_MAX {
            run.functions.push(function);
        }
        Some(())
    }

    /// `Failed to fuse subgraph NAME with 'COMMAND'`.
    fn failed_to_fuse(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        scan.lit("Failed to fuse subgraph ")?;
        let name = subgraph(&mut scan, findings)?;
        let mut function = command_line::neuron_cc(scan.rest, findings);
        function.name = Some(name.clone());
        findings.is_attempted = true;
        findings.add_notice(NoticeKind::Fallback, record);
        let run = self.conversion(findings)?;
        let known = |known: &LogFunction| known.name.as_ref() == Some(&name);
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

    /// `Number of operations placed on Neuron runtime: 12` and the counts before it.
    fn placement(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("Number of operations ")?;
        let field = if scan.lit("in TensorFlow session: ").is_some() {
            |placement: &mut NodePlacement, count| placement.in_session = Some(count)
        } else if scan.lit("after tf.neuron optimizations: ").is_some() {
            |placement: &mut NodePlacement, count| placement.after_optimisation = Some(count)
        } else {
            scan.lit("placed on Neuron runtime: ")?;
            |placement: &mut NodePlacement, count| placement.on_neuron = Some(count)
        };
        let count = scan.count()?;
        field(
            self.conversion(findings)?.placement.get_or_insert_default(),
            count,
        );
        Some(())
    }

    /// `Successfully converted A to B` and `Converted A to B but no operator will be running`.
    fn converted(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        let usable = scan.lit("Successfully converted ").is_some();
        if !usable {
            scan.lit("Converted ")?;
        }
        scan.until(" to ")?;
        let name = scan.take_while(|byte| byte != b' ');
        if !usable {
            scan.lit(" but no operator will be running")?;
            findings.add_notice(NoticeKind::NothingPlaced, record);
        }
        let name = findings.text(name);
        let run = self.conversion(findings)?;
        run.name = Some(RunName::Model(name));
        run.outcome = Some(if usable {
            CompilationOutcome::Pass
        } else {
            CompilationOutcome::Fail
        });
        self.is_open = false;
        Some(())
    }

    /// `*** Batch size 1, num NeuronCores 2 (…) ***`.
    fn configuration(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("*** Batch size ")?;
        let batch = scan.count()?;
        scan.lit(", num NeuronCores ")?;
        let cores = scan.count()?;
        let length = self.configurations.len();
        if findings.reserve("configurations", length, size_of::<LogRun>()) {
            self.configurations.push(LogRun {
                batch: Some(batch),
                cores: Some(cores),
                ..LogRun::default()
            });
        }
        Some(())
    }

    /// `INFO: Compilation finished in 60 seconds with 99.5% operations placed on Inferentia`.
    fn finished(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
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
        findings.is_attempted = true;
        let described = self
            .configurations
            .last()
            .is_some_and(|run| run.outcome.is_none());
        if !described {
            let length = self.configurations.len();
            if !findings.reserve("configurations", length, size_of::<LogRun>()) {
                return Some(());
            }
            self.configurations.push(LogRun::default());
        }
        let run = self.configurations.last_mut()?;
        run.elapsed_s = Some(seconds);
        run.placement.get_or_insert_default().percent = Some(percent);
        run.outcome = Some(if usable {
            CompilationOutcome::Pass
        } else {
            CompilationOutcome::Fail
        });
        Some(())
    }

    /// `Warning: Your traced model has -300.0% of operators compiled to neuron`.
    fn share(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body);
        let _ = scan.lit("Warning: ");
        scan.lit("Your traced model has ")?;
        let percent = scan.decimal()?;
        scan.lit("% of operators compiled")?;
        if (0.0..=100.0).contains(&percent) {
            let placement = &mut self.conversion(findings)?.placement;
            placement.get_or_insert_default().percent = Some(percent);
        } else {
            findings.reading.implausible_percent.get_or_insert(percent);
        }
        Some(())
    }
}

/// The most sub-graphs of one conversion.
const FUNCTIONS_MAX: usize = 256;

/// Adds what TensorFlow says of a conversion to the configuration that it was made for.
fn join(run: &mut LogRun, conversion: LogRun) {
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
fn subgraph(scan: &mut Scan<'_>, findings: &mut Findings) -> Option<String> {
    let name = if scan.lit("{subgraph ").is_some() {
        let name = scan.until(" with ")?;
        scan.until("} with ")?;
        name
    } else {
        scan.until(" with ")?
    };
    Some(findings.text(name))
}

/// `There are 3 ops of 2 different types in the graph that are not compiled by neuron-cc: …`.
fn screening(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("There are ")?;
    let count = scan.count()?;
    scan.lit(" ops of ")?;
    let types = scan.count()?;
    scan.lit(" different types in the graph that are not compiled by neuron-cc: ")?;
    if findings.reading.screening.is_none() {
        let operators = operator_list::names(before(scan.rest, "(For more"), findings);
        findings.reading.screening = Some(OperatorScreening::Unsupported {
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
