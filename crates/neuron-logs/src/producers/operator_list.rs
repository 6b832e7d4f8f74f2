//! The two lists of operators that torch-neuron prints: those compiled, and those left to the host.

use crate::findings::Findings;
use crate::framing::record::LogRecord;
use crate::reading::{HostOperator, OperatorCount};
use crate::text::scan::{Scan, before, is_operator};

/// Whether a record is an entry or the head of a list.
pub(crate) fn is_list_line(body: &[u8]) -> bool {
    match body.first() {
        Some(b'=' | b' ') => body.trim_ascii_start().starts_with(b"=> "),
        Some(b'C') => body.starts_with(b"Compiled these operators"),
        Some(b'N') => body.starts_with(b"Not compiled operators"),
        _ => false,
    }
}

/// Reads ` => aten::add: 3 [supported]`, with a tag only among the operators of the host.
pub(super) fn read_entry(record: &LogRecord<'_>, findings: &mut Findings) -> Option<()> {
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
    // Each list has a head, which may be missing: a tag tells them apart as well.
    let on_host = supported.is_some() || findings.run().host_operators.is_some();
    let list = if on_host {
        "operators on the host"
    } else {
        "compiled operators"
    };
    if !findings.note_listed(list, operator) {
        repeated_operator(operator, count, on_host, findings);
        return Some(());
    }
    let name = findings.text(operator);
    let run = findings.run();
    let length = if on_host {
        run.host_operators.get_or_insert_default().len()
    } else {
        run.compiled_operators.get_or_insert_default().len()
    };
    if !findings.reserve(list, length, name.len()) {
        return Some(());
    }
    let run = findings.run();
    if on_host {
        let entries = run.host_operators.get_or_insert_default();
        entries.push(HostOperator {
            operator: name,
            count,
            supported,
        });
    } else {
        let entries = run.compiled_operators.get_or_insert_default();
        entries.push(OperatorCount {
            operator: name,
            count: usize::try_from(count).unwrap_or(usize::MAX),
        });
    }
    Some(())
}

/// Reads an entry again: a second log handler repeats the list, but a different count is a
/// contradiction.
fn repeated_operator(operator: &[u8], count: u64, on_host: bool, findings: &mut Findings) {
    let run = findings.run();
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
            findings.add_contradiction(&what, ("first", known as f64), ("then", count as f64));
        }
        _ => findings.reading.skipped.duplicates += 1,
    }
}

/// The operators in `aten::embedding, aten::index_put_, (For more information see URL)`.
pub(super) fn names(text: &[u8], findings: &mut Findings) -> Vec<String> {
    let list = before(text, "(For more information");
    let mut found = Vec::new();
    for name in list.split(|byte| *byte == b',') {
        let name = name.trim_ascii();
        if !name.is_empty() && findings.reserve("unsupported operators", found.len(), name.len()) {
            found.push(findings.text(name));
        }
    }
    found
}
