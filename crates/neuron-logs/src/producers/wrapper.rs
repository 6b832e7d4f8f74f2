//! The wrapper around neuronx-cc: its cache, its calls, and `neuron_parallel_compile`.

use super::command_line;
use crate::findings::{ErrorOrigin, Findings};
use crate::framing::record::{LogRecord, Logger};
use crate::reading::{LogError, ParallelCompile, Producer};
use crate::text::scan::{Scan, after, before, contains};

/// Reads a record; false when it is not of the wrapper. The texts decide and not the prefix:
/// programs that log in a layout of their own repeat them.
pub(super) fn read(record: &LogRecord<'_>, findings: &mut Findings) -> bool {
    let is_wrapper = record.logger == Logger::Wrapper;
    if is_wrapper {
        findings.recognise(match record.component {
            b"ANALYZE" | b"PARALLEL_COMPILE" | b"NEURON_PARALLEL_COMPILE" => {
                Producer::NeuronParallelCompile
            }
            _ => Producer::NeuronxWrapper,
        });
        // What a cached failure quotes ends where the wrapper speaks again.
        findings.origin = ErrorOrigin::Own;
    }
    let known = match record.body.first() {
        Some(b'A') => awaited(record.body, findings),
        Some(b'U') => cached(record.body, findings),
        Some(b'G') => cached_failure(record, findings),
        Some(b'E') => exiting(record.body, findings),
        Some(b'C') => compiling(record, findings),
        Some(b'F') => failed(record, findings),
        Some(b'T') if is_wrapper => totals(record.body, findings),
        _ => None,
    };
    if known.is_some() {
        findings.recognise(Producer::NeuronxWrapper);
    }
    known.is_some()
}

/// `Another process must be compiling F, been waiting for: 1.0 minutes`.
fn awaited(body: &[u8], findings: &mut Findings) -> Option<()> {
    let path = body.strip_prefix(b"Another process must be compiling ")?;
    findings.graph_is_awaited(before(path, ","));
    Some(())
}

/// `Using a cached neff at F`.
fn cached(body: &[u8], findings: &mut Findings) -> Option<()> {
    if !body.starts_with(b"Using a cached neff at ") {
        return None;
    }
    findings.reading.cache.hits += 1;
    findings.graph_is_cached(body);
    findings.count_success();
    Some(())
}

/// `Got a cached failed neff at F. With eror log: [Failed compilation with […`: the lines that
/// follow repeat an old error.
fn cached_failure(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("Got a cached failed neff at ")?;
    findings.reading.cache.failed_hits += 1;
    findings.graph_failed_before(before(scan.rest, " With eror log"));
    findings.module = command_line::module_name(scan.rest).map(|name| findings.text(name));
    // The old error is quoted in the lines behind this one, up to the next line of the wrapper.
    if contains(scan.rest, "log: [") {
        findings.origin = ErrorOrigin::Cache;
    }
    Some(())
}

/// `Exiting with a successfully compiled graph`, `Extracting graphs (F) for ahead-of-time parallel
/// compilation`.
fn exiting(body: &[u8], findings: &mut Findings) -> Option<()> {
    if body.starts_with(b"Exiting with a successfully compiled graph") {
        findings.graph_exits();
        findings.count_success();
        return Some(());
    }
    if !body.starts_with(b"Extracting graphs") {
        return None;
    }
    findings.graph_is_extracted(body);
    findings.recognise(Producer::NeuronParallelCompile);
    Some(())
}

/// Lines that begin with `C`: calls of the compiler, cache paths, completed modules, summaries.
fn compiling(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    if record.logger == Logger::Wrapper && scan.lit("Compile cache path: ").is_some() {
        return Some(());
    }
    if scan.lit("Call compiler with cmd: ").is_some() {
        findings.is_attempted = true;
        findings.graph_begins(scan.rest);
        command_line::neuronx_cc(scan.rest, findings);
        return Some(());
    }
    if scan.lit("Cache dir for the neff: ").is_some() {
        findings.graph_begins(scan.rest);
        return Some(());
    }
    if record.logger == Logger::Wrapper && scan.lit("Compiling ").is_some() {
        scan.until(" using following command: ")?;
        // An analysis calls the compiler too, and compiles no model.
        if record.component != b"ANALYZE" {
            findings.is_attempted = true;
            findings.graph_begins(record.body);
        }
        command_line::neuronx_cc(scan.rest, findings);
        return Some(());
    }
    if scan
        .lit("Compilation Successfully Completed for ")
        .is_some()
    {
        findings.count_success();
        findings.graph_completed(scan.rest);
        let module = findings.text(command_line::module_name(scan.rest)?);
        findings.module_completed(module);
        return Some(());
    }
    scan.lit("Compilation summary")?;
    findings.recognise(Producer::NeuronParallelCompile);
    summary(&mut scan, findings)
}

/// ` - Total graphs: 6, Success: 6, Failed: 0` or `: 0/6 failed, 6 succeeded`.
fn summary(scan: &mut Scan<'_>, findings: &mut Findings) -> Option<()> {
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
    merge(found, findings);
    Some(())
}

/// `Total graphs: 5`, `Total successful compilations: 5`, `Total failed compilations: 0`.
fn totals(body: &[u8], findings: &mut Findings) -> Option<()> {
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
    merge(found, findings);
    Some(())
}

/// Adds what one line of a summary says; a second, different statement is a contradiction.
fn merge(found: ParallelCompile, findings: &mut Findings) {
    findings.recognise(Producer::NeuronParallelCompile);
    let mut known = findings.reading.parallel_compile.unwrap_or_default();
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
    findings.reading.parallel_compile = Some(known);
    for (what, one, other) in contradictions {
        findings.add_contradiction(what, ("first", one as f64), ("then", other as f64));
    }
}

/// `Failed compilation with [LIST]: MESSAGE`; the message may stand in the lines behind it.
fn failed(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("Failed compilation with ")?;
    findings.recognise(Producer::NeuronxWrapper);
    findings.is_attempted = true;
    command_line::neuronx_cc(scan.rest, findings);
    findings.module = command_line::module_name(scan.rest).map(|name| findings.text(name));
    findings.graph_failed(scan.rest);
    let message = after(scan.rest, "]:").unwrap_or_default().trim_ascii();
    // A message with a code in brackets is read with the codes, which counts it.
    if !message.is_empty() && !contains(message, "] ") {
        let error = LogError::of(findings.text(message));
        findings.count_compiler_error(error);
    }
    Some(())
}
