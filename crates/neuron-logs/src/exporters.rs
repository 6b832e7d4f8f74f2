//! Programs around the compilers: optimum-neuron, NxD Inference, and scripts that name models.

use super::book::Book;
use super::reading::{LogError, Producer, Run, RunName};
use super::records::{Logger, Record};
use super::scan::{Scan, after, before, contains};

/// Compilations that a script names in lines of its own, possibly far from the compiler's.
#[derive(Default)]
pub(super) struct Exporters {
    scripted: Vec<Run>,
}

impl Exporters {
    /// Reads a line; false if it is none of these programs.
    pub(super) fn line(&mut self, record: &Record<'_>, book: &mut Book) -> bool {
        let body = record.body;
        let known = match body.first() {
            Some(b'*') => compiling(body, book),
            Some(b'[') => compilation_time(body, book),
            Some(b'U') => using(body, book),
            Some(b'M') => cached_in(body, book),
            Some(b'A') => failed_trace(record, book),
            Some(b'G' | b'D' | b'F' | b'N') => nxd(record, book),
            Some(b'-') => self.scripted(body, book),
            Some(b'E') => export_complete(body, book),
            Some(b'P' | b'S' | b't') => script_duration(body, book),
            _ => None,
        };
        known.is_some()
    }

    /// `--- embed: compiling MODEL -> FOLDER ---` and `--- embed: compiled in 570.9s ---`.
    fn scripted(&mut self, body: &[u8], book: &mut Book) -> Option<()> {
        let mut scan = Scan::new(body);
        scan.lit("--- ")?;
        let line = scan.rest;
        let label = before(line, ": compil");
        let rest = if label.len() < line.len() {
            &line[label.len() + 2..]
        } else {
            line
        };
        let mut scan = Scan::new(rest);
        if scan.lit("compiling ").is_some() {
            let model = scan.until(" -> ")?;
            let model = book.text(model);
            if book.room("runs", self.scripted.len(), size_of::<Run>()) {
                self.scripted.push(Run {
                    name: Some(RunName::Model(model)),
                    ..Run::default()
                });
            }
            return Some(());
        }
        scan.lit("compiled in ")?;
        let seconds = scan.decimal()?;
        scan.lit("s")?;
        let open = self
            .scripted
            .iter_mut()
            .find(|run| run.elapsed_s.is_none())?;
        open.elapsed_s = Some(seconds);
        Some(())
    }

    /// Makes runs of what scripts said, where nothing better is known.
    pub(super) fn finish(self, book: &mut Book) {
        let useful = book.reading.recognised && book.reading.runs.is_empty();
        if !useful || self.scripted.iter().all(|run| run.elapsed_s.is_none()) {
            return;
        }
        let mut runs = self.scripted;
        if runs.len() == book.reading.statuses.dots.len() {
            for (run, dots) in runs.iter_mut().zip(&book.reading.statuses.dots) {
                run.progress_dots = *dots;
            }
        }
        book.reading.runs = runs;
    }
}

/// `***** Compiling encoder *****`.
fn compiling(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("***** Compiling ")?;
    let name = scan.until(" *****")?;
    let name = book.text(name);
    book.saw(Producer::OptimumNeuron);
    book.attempted = true;
    book.close_run();
    book.new_run().name = Some(RunName::Component(name));
    Some(())
}

/// `[Compilation Time] 380.29 seconds.` and `[Total compilation Time] 544.78 seconds.`.
fn compilation_time(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    let total = scan.lit("[Total compilation Time] ").is_some();
    if !total {
        scan.lit("[Compilation Time] ")?;
    }
    let seconds = scan.decimal()?;
    book.saw(Producer::OptimumNeuron);
    book.success();
    if total {
        book.reading.timings.total_s = Some(seconds);
    } else {
        book.run().elapsed_s = Some(seconds);
        book.close_run();
    }
    Some(())
}

/// `Using Neuron: --auto-cast all`.
fn using(body: &[u8], book: &mut Book) -> Option<()> {
    let argument = body.strip_prefix(b"Using Neuron: ")?;
    if !argument.starts_with(b"-") {
        return None;
    }
    book.saw(Producer::OptimumNeuron);
    let argument = book.text(argument.trim_ascii());
    let joined = book.run().compiler_args.get_or_insert_default();
    if joined.len() + argument.len() < super::reading::TEXT_MAX {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&argument);
    }
    Some(())
}

fn cached_in(body: &[u8], book: &mut Book) -> Option<()> {
    let known = body.starts_with(b"Model cached in: ");
    known.then(|| book.saw(Producer::OptimumNeuron))
}

/// `An error occured when trying to trace X with the error message: …`.
fn failed_trace(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let body = record.body;
    if !body.starts_with(b"An error occured when trying to trace ")
        && !body.starts_with(b"An error occurred when trying to trace ")
    {
        return None;
    }
    book.saw(Producer::OptimumNeuron);
    book.attempted = true;
    let error = LogError::of(book.text(body));
    book.count_error(error);
    Some(())
}

/// The steps of NxD Inference, which logs as `Neuron` too.
fn nxd(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let body = record.body;
    let flags = after(body, "Neuron compiler flags: ").filter(|_| body.starts_with(b"Neuron "));
    if let Some(flags) = flags {
        let flags = book.text(flags.trim_ascii());
        book.reading.compiler_args.get_or_insert(flags);
        book.saw(Producer::NxdInference);
        return Some(());
    }
    if record.logger != Logger::Neuron {
        return None;
    }
    if body.starts_with(b"Generating HLOs for the following models") {
        book.saw(Producer::NxdInference);
        return Some(());
    }
    let rest = after(body, " in ")?;
    let mut scan = Scan::new(rest);
    let seconds = scan.decimal()?;
    scan.lit(" seconds")?;
    let timings = &mut book.reading.timings;
    let field = match before(body, " in ") {
        b"Generated all HLOs" => &mut timings.generate_hlo_s,
        b"Done compilation for the priority HLO" => &mut timings.priority_hlo_s,
        b"Finished Compilation for all HLOs" => &mut timings.all_hlos_s,
        b"Finished building model" => &mut timings.total_s,
        _ => return None,
    };
    *field = Some(seconds);
    book.saw(Producer::NxdInference);
    Some(())
}

/// `Export complete (86.0s)`.
fn export_complete(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Export complete (")?;
    let seconds = scan.decimal()?;
    scan.lit("s)")?;
    book.reading.timings.total_s = Some(seconds);
    Some(())
}

/// A script's last word: `wall_s=1497.56` or `… after 1808s`.
fn script_duration(body: &[u8], book: &mut Book) -> Option<()> {
    if body.len() > 256 || !body[0].is_ascii_uppercase() {
        return None;
    }
    let mut scan = Scan::new(after(body, " wall_s=").or_else(|| {
        let rest = after(body, " after ")?;
        let ends = rest.ends_with(b"s") && contains(body, "NEVER");
        ends.then_some(rest)
    })?);
    let seconds = scan.decimal()?;
    book.reading.timings.total_s.get_or_insert(seconds);
    None
}
