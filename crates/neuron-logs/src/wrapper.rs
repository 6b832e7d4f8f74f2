//! The wrapper around neuronx-cc: its cache, its calls, and `neuron_parallel_compile`.

use super::book::{Book, Origin};
use super::command;
use super::reading::{LogError, ParallelCompile, Producer};
use super::records::{Logger, Record};
use super::scan::{Scan, after, before, contains};

/// Reads a line; false if it is none of the wrapper. Its texts are its own: programs that log in
/// their own layout repeat them.
pub(super) fn line(record: &Record<'_>, book: &mut Book) -> bool {
    let wrapped = record.logger == Logger::Wrapper;
    if wrapped {
        book.saw(match record.component {
            b"ANALYZE" | b"PARALLEL_COMPILE" | b"NEURON_PARALLEL_COMPILE" => {
                Producer::NeuronParallelCompile
            }
            _ => Producer::NeuronxWrapper,
        });
        book.origin = Origin::Own;
    }
    let known = match record.body.first() {
        Some(b'A') => awaited(record.body, book),
        Some(b'U') => cached(record.body, book),
        Some(b'G') => cached_failure(record, book),
        Some(b'E') => exiting(record.body, book),
        Some(b'C') => compiling(record, book),
        Some(b'F') => failed(record, book),
        Some(b'T') if wrapped => totals(record.body, book),
        _ => None,
    };
    if known.is_some() {
        book.saw(Producer::NeuronxWrapper);
    }
    known.is_some()
}

/// `Another process must be compiling F, been waiting for: 1.0 minutes`.
fn awaited(body: &[u8], book: &mut Book) -> Option<()> {
    let path = body.strip_prefix(b"Another process must be compiling ")?;
    book.graph_is_awaited(before(path, ","));
    Some(())
}

fn cached(body: &[u8], book: &mut Book) -> Option<()> {
    if !body.starts_with(b"Using a cached neff at ") {
        return None;
    }
    book.reading.cache.hits += 1;
    book.graph_is_cached(body);
    book.success();
    Some(())
}

/// `Got a cached failed neff at F. With eror log: [Failed compilation with […`: an old error is
/// repeated in the lines that follow.
fn cached_failure(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("Got a cached failed neff at ")?;
    book.reading.cache.failed_hits += 1;
    book.graph_failed_before(before(scan.rest, " With eror log"));
    book.module = command::module(scan.rest).map(|name| book.text(name));
    if contains(scan.rest, "log: [") {
        book.origin = Origin::Cache;
    }
    Some(())
}

fn exiting(body: &[u8], book: &mut Book) -> Option<()> {
    if body.starts_with(b"Exiting with a successfully compiled graph") {
        book.graph_exits();
        book.success();
        return Some(());
    }
    if !body.starts_with(b"Extracting graphs") {
        return None;
    }
    book.graph_is_extracted(body);
    book.saw(Producer::NeuronParallelCompile);
    Some(())
}

fn compiling(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body);
    if record.logger == Logger::Wrapper && scan.lit("Compile cache path: ").is_some() {
        return Some(());
    }
    if scan.lit("Call compiler with cmd: ").is_some() {
        book.attempted = true;
        book.graph_begins(scan.rest);
        command::neuronx_cc(scan.rest, book);
        return Some(());
    }
    if scan.lit("Cache dir for the neff: ").is_some() {
        book.graph_begins(scan.rest);
        return Some(());
    }
    if record.logger == Logger::Wrapper && scan.lit("Compiling ").is_some() {
        scan.until(" using following command: ")?;
        if record.component != b"ANALYZE" {
            book.attempted = true;
            book.graph_begins(record.body);
        }
        command::neuronx_cc(scan.rest, book);
        return Some(());
    }
    if scan
        .lit("Compilation Successfully Completed for ")
        .is_some()
    {
        book.success();
        book.graph_completed(scan.rest);
        let module = book.text(command::module(scan.rest)?);
        book.complete(module);
        return Some(());
    }
    scan.lit("Compilation summary")?;
    book.saw(Producer::NeuronParallelCompile);
    summary(&mut scan, book)
}

/// ` - Total graphs: 6, Success: 6, Failed: 0` or `: 0/6 failed, 6 succeeded`.
fn summary(scan: &mut Scan<'_>, book: &mut Book) -> Option<()> {
    let mut found = ParallelCompile::default();
    if scan.lit(" - Total graphs: ").is_some() {
        found.total = scan.count();
        scan.lit(", Success: ")?;
        found.succeeded = scan.count();
        scan.lit(", Failed: ")?;
        found.failed = scan.count();
    } else if scan.lit(": ").is_some() {
        found.failed = scan.count();
        scan.lit("/")?;
        found.total = scan.count();
        scan.lit(" failed, ")?;
        found.succeeded = scan.count();
    }
    merge(found, book);
    Some(())
}

/// `Total graphs: 5`, `Total successful compilations: 5`, `Total failed compilations: 0`.
fn totals(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    let mut found = ParallelCompile::default();
    if scan.lit("Total graphs: ").is_some() {
        found.total = scan.count();
    } else if scan.lit("Total successful compilations: ").is_some() {
        found.succeeded = scan.count();
    } else {
        scan.lit("Total failed compilations: ")?;
        found.failed = scan.count();
    }
    merge(found, book);
    Some(())
}

/// Adds what one line of a summary says; a second, different statement is a contradiction.
fn merge(found: ParallelCompile, book: &mut Book) {
    book.saw(Producer::NeuronParallelCompile);
    let mut known = book.reading.parallel_compile.unwrap_or_default();
    let fields = [
        ("graphs", &mut known.total, found.total),
        (
            "successful compilations",
            &mut known.succeeded,
            found.succeeded,
        ),
        ("failed compilations", &mut known.failed, found.failed),
    ];
    let mut contradictions = Vec::new();
    for (what, field, value) in fields {
        match (*field, value) {
            (Some(one), Some(other)) if one != other => contradictions.push((what, one, other)),
            (None, value) => *field = value,
            _ => {}
        }
    }
    book.reading.parallel_compile = Some(known);
    for (what, one, other) in contradictions {
        book.contradiction(what, ("first", one as f64), ("then", other as f64));
    }
}

/// `Failed compilation with [LIST]: MESSAGE`; the message may stand in the lines behind it.
fn failed(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("Failed compilation with ")?;
    book.saw(Producer::NeuronxWrapper);
    book.attempted = true;
    command::neuronx_cc(scan.rest, book);
    book.module = command::module(scan.rest).map(|name| book.text(name));
    book.graph_failed(scan.rest);
    let message = after(scan.rest, "]:").unwrap_or_default().trim_ascii();
    if !message.is_empty() && !contains(message, "] ") {
        let error = LogError::of(book.text(message));
        book.count_error_of_compiler(error);
    }
    Some(())
}
