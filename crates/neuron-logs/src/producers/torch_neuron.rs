//! torch-neuron (inf1): what is fused, what is compiled, and which sub-graphs fell back.

use super::line_format::LineFormat;
use super::{command_line, operator_list};
use crate::findings::Findings;
use crate::framing::needles::Needles;
use crate::framing::record::{LogLevel, LogRecord, Logger, PrefixLayout};
use crate::reading::{
    CompiledShare, FusedShare, LogError, LogFunction, NoticeKind, OperatorScreening, Producer,
    RunName,
};
use crate::text::scan::{Scan, after, contains};

/// The statements that wait for their run.
#[derive(Default)]
pub(super) struct TorchNeuron {
    /// Said before the figures of its run.
    screening: Option<OperatorScreening>,
}

impl LineFormat for TorchNeuron {
    fn read(&mut self, record: &LogRecord<'_>, _: Needles<'_>, findings: &mut Findings) -> bool {
        let body = record.body;
        let known = match body.first() {
            Some(b'=' | b' ') => operator_list::read_entry(record, findings),
            Some(b'A') => self.all_operators(body),
            Some(b'C') => self.compiling(record, findings),
            Some(b'c') => self.start(body, findings),
            Some(b'N') => self.number(record, findings),
            Some(b'T') => self.the(record, findings),
            Some(b't') => fallback(record, findings),
            Some(b'R') => runtime_error(record, findings),
            Some(b'P' | b'r') => not_converted(record, findings),
            Some(b's' | b'e') => export(body, findings),
            _ => None,
        };
        if known.is_some() {
            findings.recognise(Producer::TorchNeuron);
            return true;
        }
        error_record(record, findings)
    }

    /// Most lines of a log are entries of lists, and no other producer writes such lines.
    fn claim(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> bool {
        let is_candidate =
            record.logger == Logger::Neuron && matches!(record.body.first(), Some(b'=' | b' '));
        let is_entry = is_candidate && operator_list::read_entry(record, findings).is_some();
        if is_entry {
            findings.recognise(Producer::TorchNeuron);
        }
        is_entry
    }

    /// Keeps what was said about operators when no run followed.
    fn finish(mut self, findings: &mut Findings) {
        if findings.reading.screening.is_none() {
            findings.reading.screening = self.screening.take();
        }
    }
}

impl TorchNeuron {
    /// `All operators are compiled by neuron-cc (this does not guarantee …)`.
    fn all_operators(&mut self, body: &[u8]) -> Option<()> {
        body.starts_with(b"All operators are compiled by neuron-cc")
            .then(|| self.screening = Some(OperatorScreening::AllSupported))
    }

    /// Lines that begin with `Comp`: command lines, exit codes, the head of a list, functions.
    fn compiling(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Compiling with command line: ").is_some() {
            let function = command_line::neuron_cc(scan.rest, findings);
            add_command_line(function, findings);
            return Some(());
        }
        if scan.lit("Compile command returned: ").is_some() {
            let code = scan.signed()?;
            findings.is_attempted = true;
            let length = findings.reading.return_codes.len();
            if !findings.reading.return_codes.contains(&code)
                && findings.reserve("return codes", length, 0)
            {
                findings.reading.return_codes.push(code);
            }
            return Some(());
        }
        if scan
            .lit("Compiled these operators (and operator counts) to Neuron")
            .is_some()
        {
            if findings
                .open_run()
                .is_some_and(|run| run.compiled_operators.is_none())
            {
                findings.run().compiled_operators = Some(Vec::new());
            } else if findings.open_run().is_none() {
                findings.new_run().compiled_operators = Some(Vec::new());
            }
            return Some(());
        }
        self.start(record.body, findings)
    }

    /// `Compiling function _NeuronGraph$661 with neuron-cc; log file is at PATH`.
    fn start(&mut self, body: &[u8], findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(body.get(1..)?);
        scan.lit("ompiling ")?;
        if scan.lit("module ").is_some() {
            let name = scan.until(" with neuron-cc")?;
            let name = findings.text(name);
            findings.is_attempted = true;
            findings.new_run().name = Some(RunName::Module(name));
            return Some(());
        }
        scan.lit("function ")?;
        let name = scan.until(" with neuron-cc")?;
        let log_file = after(scan.rest, "log file is at ").map(|path| findings.text(path));
        let name = findings.text(name);
        findings.is_attempted = true;
        // Named again before another function is, it is the same call of the compiler.
        let repeated = findings
            .open_run()
            .and_then(|run| run.functions.last())
            .is_some_and(|last| last.name.as_ref() == Some(&name));
        findings.function = Some(name.clone());
        if !repeated {
            findings.add_function(LogFunction {
                name: Some(name),
                log_file,
                ..LogFunction::default()
            });
            self.give_screening(findings);
        }
        Some(())
    }

    /// Lines that begin with `N`: figures, lists, and warnings about the trace.
    fn number(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Number of arithmetic operators (").is_some() {
            return self.figures(&mut scan, findings);
        }
        if scan.lit("Neuron successfully compiled ").is_some() {
            let compiled = scan.count()?;
            scan.until("Total fused subgraphs = ")?;
            let fused = scan.count()?;
            scan.until("successfully compiled = ")?;
            let percent = scan.decimal().filter(|_| scan.lit("%").is_some());
            let subgraphs = &mut findings.run().subgraphs;
            subgraphs.compiled = Some(compiled);
            subgraphs.fused = Some(fused);
            subgraphs.percent = percent;
            return Some(());
        }
        if scan
            .lit("Not compiled operators (and operator counts) to Neuron")
            .is_some()
        {
            findings.run().host_operators.get_or_insert_default();
            return Some(());
        }
        if scan
            .lit("No operator is placed on Neuron runtime")
            .is_some()
        {
            findings.add_notice(NoticeKind::CpuTrace, record);
            return Some(());
        }
        scan.lit("Number of neuron graph operations ")?;
        findings.add_notice(NoticeKind::HeuristicMatch, record);
        Some(())
    }

    /// `pre-compilation) before = N, fused = F, percent fused = P%` and its counterpart.
    fn figures(&mut self, scan: &mut Scan<'_>, findings: &mut Findings) -> Option<()> {
        let fused = scan.lit("pre-compilation) before = ").is_some();
        if !fused {
            scan.lit("post-compilation) before = ")?;
        }
        let total = scan.count()?;
        scan.lit(if fused { ", fused = " } else { ", compiled = " })?;
        let part = scan.count()?;
        scan.until(" = ")?;
        let percent = scan.decimal()?;
        // A line that ends before the sign may have lost digits too.
        scan.lit("%")?;
        if fused {
            self.fused(
                FusedShare {
                    total,
                    fused: part,
                    percent,
                },
                findings,
            );
        } else {
            self.compiled(
                CompiledShare {
                    total,
                    compiled: part,
                    percent,
                },
                findings,
            );
        }
        Some(())
    }

    fn fused(&mut self, figures: FusedShare, findings: &mut Findings) {
        // A run begins with this line, unless nothing came since the last one.
        let repeated = findings.open_run().is_some_and(|run| {
            run.fused == Some(figures) && run.functions.is_empty() && run.compiled.is_none()
        });
        if repeated {
            findings.reading.skipped.duplicates += 1;
            return;
        }
        findings.new_run().fused = Some(figures);
        findings.function = None;
        self.give_screening(findings);
    }

    fn compiled(&mut self, figures: CompiledShare, findings: &mut Findings) {
        if let Some(run) = findings.open_run() {
            // Printed again before any list, the line is a repetition; behind lists it is the line of
            // another run that happens to have the same figures.
            if run.compiled == Some(figures) && run.compiled_operators.is_none() {
                findings.reading.skipped.duplicates += 1;
                return;
            }
            if run.compiled.is_some() {
                findings.new_run();
            }
        }
        // The dots so far are the run's: they are assigned while it still counts as being compiled.
        findings.run();
        findings.assign_dots();
        findings.run().compiled = Some(figures);
        self.give_screening(findings);
    }

    /// Gives what was said about operators to the run that has begun since.
    fn give_screening(&mut self, findings: &mut Findings) {
        if let (Some(screening), Some(run)) = (self.screening.take(), findings.open_run()) {
            run.screening.get_or_insert(screening);
        }
    }

    /// Lines that begin with `The`: what is left to the host, sub-graphs, an abort.
    fn the(&mut self, record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("There are ").is_some() {
            let count = scan.count()?;
            scan.lit(" ops of ")?;
            let types = scan.count()?;
            scan.lit(" different types in the TorchScript that are not compiled by neuron-cc: ")?;
            let operators = operator_list::names(scan.rest, findings);
            self.screening = Some(OperatorScreening::Unsupported {
                count,
                types,
                operators,
            });
            return Some(());
        }
        scan.lit("The neuron")?;
        if scan.lit(" partitioner created ").is_some() {
            let created = scan.count()?;
            findings.run().subgraphs.created = Some(created);
            return Some(());
        }
        scan.lit("-cc (neuron compiler) process aborted")?;
        findings.reading.aborted_subgraphs += 1;
        findings.is_attempted = true;
        findings.add_notice(NoticeKind::Aborted, record);
        Some(())
    }
}

/// `torch.neuron.trace failed on _NeuronGraph$7; falling back to native python function call`.
fn fallback(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("torch.neuron.trace ")?;
    if scan.lit("was unable to compile > 50%").is_some() {
        findings.add_notice(NoticeKind::BelowHalf, record);
        return Some(());
    }
    scan.lit("failed on ")?;
    let name = scan.until("; falling back")?;
    let name = findings.text(name);
    findings.add_notice(NoticeKind::Fallback, record);
    let length = findings.run().failed_functions.len();
    if !findings.note_listed("failed functions", name.as_bytes()) {
        return Some(());
    }
    if findings.reserve("failed functions", length, name.len()) {
        findings.run().failed_functions.push(name.clone());
    }
    findings.function = Some(name);
    Some(())
}

fn runtime_error(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("RuntimeError: No operations were successfully partitioned")?;
    let error = LogError::of(findings.text(record.body));
    findings.count_error(error);
    Some(())
}

/// `ERROR:Neuron:…` behind a sub-graph that fell back.
fn error_record(record: &LogRecord<'_>, findings: &mut Findings) -> bool {
    let is_neuron = record.logger == Logger::Neuron
        || (record.layout == PrefixLayout::Basic && record.text.starts_with(b"ERROR:neuronperf"));
    if record.level != LogLevel::Error || !is_neuron {
        return false;
    }
    // The level and the name are kept; what a container put before them is not.
    let text = match after(record.text, "ERROR:") {
        Some(rest) if record.layout == PrefixLayout::Basic => {
            &record.text[record.text.len() - rest.len() - "ERROR:".len()..]
        }
        _ => record.text,
    };
    let line = findings.text(text.trim_ascii_end());
    // NxD Inference logs under the same name, and goes on after errors of its own.
    let is_other = !findings.reading.producers.contains(&Producer::TorchNeuron);
    if is_other || contains(record.body, "failed with the following command line call") {
        findings.vague_error.get_or_insert(line);
        return true;
    }
    let error = LogError {
        function: findings.function.clone(),
        ..LogError::of(line)
    };
    findings.count_error(error);
    true
}

/// Gives a command line to the function that was started last, or to a function of its own.
fn add_command_line(function: LogFunction, findings: &mut Findings) {
    findings.is_attempted = true;
    let last = findings
        .open_run()
        .filter(|run| run.compiled.is_none())
        .and_then(|run| run.functions.last_mut());
    match last {
        Some(last) if last.compiler_args.is_none() => {
            last.compiler_args = function.compiler_args;
            last.inputs = function.inputs;
            last.outputs = function.outputs;
        }
        Some(last) if last.compiler_args == function.compiler_args => {}
        _ => findings.add_function(function),
    }
}

fn not_converted(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let failed = record.body.starts_with(b"PyTorch to TF conversion failed")
        || record
            .body
            .starts_with(b"remove_inplace_ops: conversion of ");
    failed.then(|| findings.add_notice(NoticeKind::NotConverted, record))
}

/// An exporter around torch-neuron names versions and its duration.
fn export(body: &[u8], findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(body);
    if scan.lit("starting export with torch_neuron ").is_some() {
        let version = scan.until(" ")?;
        let version = findings.text(version);
        findings
            .reading
            .versions
            .torch_neuron
            .get_or_insert(version);
        if scan.until("neuron-cc ").is_some() {
            let version = scan.rest.trim_ascii_end();
            let version = findings.text(version.strip_suffix(b"...").unwrap_or(version));
            findings.reading.versions.compiler.get_or_insert(version);
        }
        return Some(());
    }
    scan.lit("export success ")?;
    scan.take_while(|byte| !byte.is_ascii_digit());
    let seconds = scan.decimal()?;
    scan.lit("s")?;
    findings.reading.timings.export_s = Some(seconds);
    Some(())
}
