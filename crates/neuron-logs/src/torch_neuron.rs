//! torch-neuron (inf1): what is fused, what is compiled, and which sub-graphs fell back.

use super::book::Book;
use super::command;
use super::reading::{
    Compiled, Function, Fused, HostOperator, LogError, NoticeKind, OperatorCount, Producer,
    RunName, Screening,
};
use super::records::{Layout, Level, Logger, Record};
use super::scan::{Scan, after, before, contains, is_operator};

/// What is waiting for the lines behind it.
#[derive(Default)]
pub(super) struct TorchNeuron {
    /// Said before the figures of its run.
    screening: Option<Screening>,
    /// The function that was started or failed last.
    pub(super) function: Option<String>,
}

impl TorchNeuron {
    /// Reads a line; false if it is none of this producer.
    pub(super) fn line(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        let body = record.body;
        let known = match body.first() {
            Some(b'=' | b' ') => operator_line(record, book),
            Some(b'A') => self.all_operators(body, book),
            Some(b'C') => self.compiling(record, book),
            Some(b'c') => self.start(body, book),
            Some(b'N') => self.number(record, book),
            Some(b'T') => self.the(record, book),
            Some(b't') => self.fallback(record, book),
            Some(b'R') => self.runtime_error(record, book),
            Some(b'P') => not_converted(record, book),
            Some(b'r') => not_converted(record, book),
            Some(b's' | b'e') => export(body, book),
            _ => None,
        };
        if known.is_some() {
            book.saw(Producer::TorchNeuron);
            return true;
        }
        self.error_record(record, book)
    }

    /// `ERROR:Neuron:…` behind a sub-graph that fell back.
    fn error_record(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        let is_neuron = record.logger == Logger::Neuron
            || (record.layout == Layout::Basic && record.text.starts_with(b"ERROR:neuronperf"));
        if record.level != Level::Error || !is_neuron {
            return false;
        }
        // The level and the name are kept; what a container put before them is not.
        let text = match after(record.text, "ERROR:") {
            Some(rest) if record.layout == Layout::Basic => {
                &record.text[record.text.len() - rest.len() - "ERROR:".len()..]
            }
            _ => record.text,
        };
        let line = book.text(text.trim_ascii_end());
        // NxD Inference logs under the same name, and goes on after errors of its own.
        let is_other = !book.reading.producers.contains(&Producer::TorchNeuron);
        if is_other || contains(record.body, "failed with the following command line call") {
            book.vague_error.get_or_insert(line);
            return true;
        }
        let error = LogError {
            line,
            function: self.function.clone(),
            ..LogError::default()
        };
        book.count_error(error);
        true
    }

    /// `All operators are compiled by neuron-cc (this does not guarantee …)`.
    fn all_operators(&mut self, body: &[u8], _: &mut Book) -> Option<()> {
        body.starts_with(b"All operators are compiled by neuron-cc")
            .then(|| self.screening = Some(Screening::AllSupported))
    }

    fn compiling(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Compiling with command line: ").is_some() {
            let function = command::neuron_cc(scan.rest, book);
            attach(function, book);
            return Some(());
        }
        if scan.lit("Compile command returned: ").is_some() {
            let code = scan.signed()?;
            book.attempted = true;
            let length = book.reading.return_codes.len();
            if !book.reading.return_codes.contains(&code) && book.room("return codes", length, 0) {
                book.reading.return_codes.push(code);
            }
            return Some(());
        }
        if scan
            .lit("Compiled these operators (and operator counts) to Neuron")
            .is_some()
        {
            if book
                .open_run()
                .is_some_and(|run| run.compiled_operators.is_none())
            {
                book.run().compiled_operators = Some(Vec::new());
            } else if book.open_run().is_none() {
                book.new_run().compiled_operators = Some(Vec::new());
            }
            return Some(());
        }
        self.start(record.body, book)
    }

    /// `Compiling function _NeuronGraph$661 with neuron-cc; log file is at PATH`.
    fn start(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body.get(1..)?);
        scan.lit("ompiling ")?;
        if scan.lit("module ").is_some() {
            let name = scan.until(" with neuron-cc")?;
            let name = book.text(name);
            book.attempted = true;
            book.new_run().name = Some(RunName::Module(name));
            return Some(());
        }
        scan.lit("function ")?;
        let name = scan.until(" with neuron-cc")?;
        let log_file = after(scan.rest, "log file is at ").map(|path| book.text(path));
        let name = book.text(name);
        book.attempted = true;
        let repeated = book
            .open_run()
            .and_then(|run| run.functions.last())
            .is_some_and(|last| last.name.as_ref() == Some(&name));
        self.function = Some(name.clone());
        if !repeated {
            book.add_function(Function {
                name: Some(name),
                log_file,
                ..Function::default()
            });
            self.give_screening(book);
        }
        Some(())
    }

    fn number(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("Number of arithmetic operators (").is_some() {
            return self.figures(&mut scan, book);
        }
        if scan.lit("Neuron successfully compiled ").is_some() {
            let compiled = scan.count()?;
            scan.until("Total fused subgraphs = ")?;
            let fused = scan.count()?;
            scan.until("successfully compiled = ")?;
            let percent = scan.decimal().filter(|_| scan.lit("%").is_some());
            let subgraphs = &mut book.run().subgraphs;
            subgraphs.compiled = Some(compiled);
            subgraphs.fused = Some(fused);
            subgraphs.percent = percent;
            return Some(());
        }
        if scan
            .lit("Not compiled operators (and operator counts) to Neuron")
            .is_some()
        {
            book.run().host_operators.get_or_insert_default();
            return Some(());
        }
        if scan
            .lit("No operator is placed on Neuron runtime")
            .is_some()
        {
            book.notice(NoticeKind::CpuTrace, record);
            return Some(());
        }
        scan.lit("Number of neuron graph operations ")?;
        book.notice(NoticeKind::HeuristicMatch, record);
        Some(())
    }

    /// `pre-compilation) before = N, fused = F, percent fused = P%` and its counterpart.
    fn figures(&mut self, scan: &mut Scan<'_>, book: &mut Book) -> Option<()> {
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
                Fused {
                    total,
                    fused: part,
                    percent,
                },
                book,
            );
        } else {
            self.compiled(
                Compiled {
                    total,
                    compiled: part,
                    percent,
                },
                book,
            );
        }
        Some(())
    }

    fn fused(&mut self, figures: Fused, book: &mut Book) {
        let repeated = book.open_run().is_some_and(|run| {
            run.fused == Some(figures) && run.functions.is_empty() && run.compiled.is_none()
        });
        if repeated {
            book.reading.skipped.duplicates += 1;
            return;
        }
        book.new_run().fused = Some(figures);
        self.function = None;
        self.give_screening(book);
    }

    fn compiled(&mut self, figures: Compiled, book: &mut Book) {
        if let Some(run) = book.open_run() {
            if run.compiled == Some(figures) && run.compiled_operators.is_none() {
                book.reading.skipped.duplicates += 1;
                return;
            }
            if run.compiled.is_some() {
                book.new_run();
            }
        }
        // The dots so far are the run's: they are flushed while it is still being compiled.
        book.run();
        book.settle();
        book.run().compiled = Some(figures);
        self.give_screening(book);
    }

    fn give_screening(&mut self, book: &mut Book) {
        if let (Some(screening), Some(run)) = (self.screening.take(), book.open_run()) {
            run.screening.get_or_insert(screening);
        }
    }

    /// What was said about operators when no run followed.
    pub(super) fn finish(&mut self, book: &mut Book) {
        if book.reading.screening.is_none() {
            book.reading.screening = self.screening.take();
        }
    }

    fn the(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        if scan.lit("There are ").is_some() {
            let count = scan.count()?;
            scan.lit(" ops of ")?;
            let types = scan.count()?;
            scan.lit(" different types in the TorchScript that are not compiled by neuron-cc: ")?;
            let operators = names(scan.rest, book);
            self.screening = Some(Screening::Unsupported {
                count,
                types,
                operators,
            });
            return Some(());
        }
        scan.lit("The neuron")?;
        if scan.lit(" partitioner created ").is_some() {
            let created = scan.count()?;
            book.run().subgraphs.created = Some(created);
            return Some(());
        }
        scan.lit("-cc (neuron compiler) process aborted")?;
        book.reading.aborted_subgraphs += 1;
        book.attempted = true;
        book.notice(NoticeKind::Aborted, record);
        Some(())
    }

    /// `torch.neuron.trace failed on _NeuronGraph$7; falling back to native python function call`.
    fn fallback(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        scan.lit("torch.neuron.trace ")?;
        if scan.lit("was unable to compile > 50%").is_some() {
            book.notice(NoticeKind::BelowHalf, record);
            return Some(());
        }
        scan.lit("failed on ")?;
        let name = scan.until("; falling back")?;
        let name = book.text(name);
        book.notice(NoticeKind::Fallback, record);
        let length = book.run().failed_functions.len();
        if !book.lists("failed functions", name.as_bytes()) {
            return Some(());
        }
        if book.room("failed functions", length, name.len()) {
            book.run().failed_functions.push(name.clone());
        }
        self.function = Some(name);
        Some(())
    }

    fn runtime_error(&mut self, record: &Record<'_>, book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(record.body);
        scan.lit("RuntimeError: No operations were successfully partitioned")?;
        let error = LogError::of(book.text(record.body));
        book.count_error(error);
        Some(())
    }
}

/// Reads an entry of a list of operators; false if it is none.
pub(super) fn is_listed(record: &Record<'_>, book: &mut Book) -> bool {
    let known = operator_line(record, book).is_some();
    if known {
        book.saw(Producer::TorchNeuron);
    }
    known
}

/// ` => aten::add: 3 [supported]`, with a tag only among the operators of the host.
fn operator_line(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body.trim_ascii_start());
    scan.lit("=> ")?;
    let operator = scan.until(": ").filter(|name| is_operator(name))?;
    let count = scan.count()?;
    scan.blanks();
    let supported = match scan.rest {
        b"[supported]" => Some(true),
        b"[not supported]" => Some(false),
        b"" => None,
        _ => return None,
    };
    let on_host = supported.is_some() || book.run().host_operators.is_some();
    let list = if on_host {
        "operators on the host"
    } else {
        "compiled operators"
    };
    if !book.lists(list, operator) {
        repeated_operator(operator, count, on_host, book);
        return Some(());
    }
    let name = book.text(operator);
    let run = book.run();
    let length = if on_host {
        run.host_operators.get_or_insert_default().len()
    } else {
        run.compiled_operators.get_or_insert_default().len()
    };
    if !book.room(list, length, name.len()) {
        return Some(());
    }
    let run = book.run();
    if on_host {
        run.host_operators
            .get_or_insert_default()
            .push(HostOperator {
                operator: name,
                count,
                supported,
            });
    } else {
        run.compiled_operators
            .get_or_insert_default()
            .push(OperatorCount {
                operator: name,
                count: usize::try_from(count).unwrap_or(usize::MAX),
            });
    }
    Some(())
}

/// A second handler repeats the list; a different count is a contradiction.
fn repeated_operator(operator: &[u8], count: u64, on_host: bool, book: &mut Book) {
    let run = book.run();
    let name = String::from_utf8_lossy(operator).into_owned();
    let known = if on_host {
        let mut list = run.host_operators.iter().flatten();
        list.find(|entry| entry.operator == name)
            .map(|entry| entry.count)
    } else {
        let mut list = run.compiled_operators.iter().flatten();
        list.find(|entry| entry.operator == name)
            .map(|entry| entry.count as u64)
    };
    match known {
        Some(known) if known != count => {
            let what = format!("count of {name} in one list");
            book.contradiction(&what, ("first", known as f64), ("then", count as f64));
        }
        _ => book.reading.skipped.duplicates += 1,
    }
}

/// `aten::embedding, aten::index_put_, (For more information see URL)`.
pub(super) fn names(text: &[u8], book: &mut Book) -> Vec<String> {
    let list = before(text, "(For more information");
    let mut found = Vec::new();
    for name in list.split(|byte| *byte == b',') {
        let name = name.trim_ascii();
        if !name.is_empty() && book.room("unsupported operators", found.len(), name.len()) {
            found.push(book.text(name));
        }
    }
    found
}

/// Gives a command line to the function that was started last, or to a function of its own.
pub(super) fn attach(function: Function, book: &mut Book) {
    book.attempted = true;
    let last = book
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
        _ => book.add_function(function),
    }
}

fn not_converted(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let failed = record.body.starts_with(b"PyTorch to TF conversion failed")
        || record
            .body
            .starts_with(b"remove_inplace_ops: conversion of ");
    failed.then(|| book.notice(NoticeKind::NotConverted, record))
}

/// An exporter around torch-neuron names versions and its duration.
fn export(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    if scan.lit("starting export with torch_neuron ").is_some() {
        let version = scan.until(" ")?;
        let version = book.text(version);
        book.reading.versions.torch_neuron.get_or_insert(version);
        if scan.until("neuron-cc ").is_some() {
            let version = scan.rest.trim_ascii_end();
            let version = book.text(version.strip_suffix(b"...").unwrap_or(version));
            book.reading.versions.compiler.get_or_insert(version);
        }
        return Some(());
    }
    scan.lit("export success ")?;
    scan.take_while(|byte| !byte.is_ascii_digit());
    let seconds = scan.decimal()?;
    scan.lit("s")?;
    book.reading.timings.export_s = Some(seconds);
    Some(())
}
