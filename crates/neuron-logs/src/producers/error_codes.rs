//! Error codes of the compilers and names of what they do not support, in lines of any program.

use crate::findings::{ErrorOrigin, Findings};
use crate::framing::needles::{Needle, Needles};
use crate::framing::record::{LogLevel, LogRecord, Logger};
use crate::reading::{LogError, Producer};
use crate::text::scan::{Scan, after, before, contains};

/// Reads an error code, or the name of something unsupported; false when there is neither.
#[inline]
pub(super) fn read(record: &LogRecord<'_>, needles: Needles<'_>, findings: &mut Findings) -> bool {
    let is_error = is_candidate(record, needles) && error(record, needles, findings);
    // The exit code of the backend may come before the error that explains it.
    if !is_error && needles.has(Needle::BackendExit) {
        findings.pending_exit = backend_exit(record.body);
    }
    is_error
}

/// Whether a line may hold a code or name something unsupported: a cheap test.
fn is_candidate(record: &LogRecord<'_>, needles: Needles<'_>) -> bool {
    needles.has(Needle::Code)
        || needles.has(Needle::BackendExit)
        || record.level == LogLevel::Error
        || record.body.first() == Some(&b'[')
        || (matches!(record.logger, Logger::NeuronxCc | Logger::Wrapper)
            && memchr::memchr(b'[', record.body).is_some())
        || needles.has(Needle::Unsupported)
        || needles.has(Needle::NotSupported)
}

/// Reads a coded error, or an unsupported operator without one.
fn error(record: &LogRecord<'_>, needles: Needles<'_>, findings: &mut Findings) -> bool {
    let Some((start, code, message)) = find_code(record.body) else {
        return unsupported_without_code(record, findings);
    };
    let body = record.body;
    let mut message = Scan::new(message);
    message.blanks();
    let operation = hlo_operation(&mut message).map(|name| findings.text(name));
    let unsupported = unsupported(message.rest).map(|name| findings.text(name));
    let line = before(&body[start..], " - Please open a support ticket").trim_ascii_end();
    let line = findings.text(line);
    let exit = needles
        .has(Needle::BackendExit)
        .then(|| backend_exit(body))
        .flatten();
    // Ranks and callers repeat the error of a compiler, with its code in a message of their own.
    let is_echo = exit.is_some() || record.rank.is_some() || contains(&body[..start], "Error");
    let rank = record.rank;
    let error = LogError {
        code: Some(String::from_utf8_lossy(code).into_owned()),
        line,
        hlo_operation: operation,
        unsupported,
        ..LogError::default()
    };
    findings.recognise(Producer::NeuronxCc);
    // The compilation of this log is over and went well: a server writes about another one.
    if findings.reading.exit_code == Some(0) && record.logger == Logger::Other {
        findings.origin = ErrorOrigin::OtherProgram;
    }
    if let Some(known) = findings.report_compiler_error(error) {
        if !is_echo || known.count == 0 {
            known.count += 1;
        }
        match exit {
            // A signal killed the backend.
            Some(code) if code < 0 => known.exit_status = known.exit_status.or(exit),
            _ => known.backend_exit = known.backend_exit.or(exit),
        }
        if let Some(rank) = rank
            && !known.ranks.contains(&rank)
            && known.ranks.len() < RANKS_MAX
        {
            known.ranks.push(rank);
        }
    }
    true
}

/// The most ranks that are listed.
const RANKS_MAX: usize = 1024;

/// The first code of a text: where its part of the line starts, the code, and the message.
fn find_code(body: &[u8]) -> Option<(usize, &[u8], &[u8])> {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'[', &body[from..]) {
        let open = from + at;
        if let Some(length) = code_length(&body[open + 1..]) {
            let code = &body[open + 1..open + 1 + length];
            let message = &body[open + 2 + length..];
            return Some((line_start(body, open), code, message));
        }
        from = open + 1;
    }
    None
}

/// The length of a code such as `NCC_EOOM001`, `XCG815` or `F137`, if a closing bracket follows it.
fn code_length(text: &[u8]) -> Option<usize> {
    let mut scan = Scan::new(text);
    let documented = scan.lit("NCC_").is_some();
    let letters = scan.take_while(|byte| byte.is_ascii_uppercase()).len();
    let digits = scan.take_while(|byte| byte.is_ascii_digit()).len();
    let letters_max = if documented { 6 } else { 4 };
    let fits = (1..=letters_max).contains(&letters) && (3..=4).contains(&digits);
    // A blank behind the bracket tells a code from an index.
    let closed = scan.rest == b"]" || scan.rest.starts_with(b"] ");
    (fits && closed).then(|| text.len() - scan.rest.len())
}

/// The index of the bracket of a code, or of the severity in brackets before it.
fn line_start(body: &[u8], open: usize) -> usize {
    for word in ["[INTERNAL_ERROR] ", "[ERROR] "] {
        if body[..open].ends_with(word.as_bytes()) {
            return open - word.len();
        }
    }
    open
}

/// Takes the name of an HLO instruction behind a code, such as `(_add.12) `.
fn hlo_operation<'a>(message: &mut Scan<'a>) -> Option<&'a [u8]> {
    let mut scan = *message;
    scan.lit("(")?;
    let name = scan.take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-%".contains(&byte));
    scan.lit(")")?;
    let numbered = name.contains(&b'.') && name.last().is_some_and(u8::is_ascii_digit);
    if !numbered {
        return None;
    }
    scan.blanks();
    *message = scan;
    Some(name)
}

/// The texts before and behind the name of what a message calls unsupported.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("unsupported HLO opcode \"", "\""),
    ("Unsupported HLO opcode \"", "\""),
    ("Unsupported CustomCall target: ", " "),
    ("Unsupported custom call target: ", " "),
    ("Operator ", " is not supported"),
    ("Operation ", " is not supported"),
    ("operators are not supported: ", "."),
];

/// The operator that a message calls unsupported.
fn unsupported(message: &[u8]) -> Option<&[u8]> {
    UNSUPPORTED.iter().find_map(|(before_name, behind)| {
        let rest = after(message, before_name)?;
        let name = before(rest, behind);
        let ends = name.len() < rest.len() || *behind == " ";
        let name = name.strip_suffix(b".").unwrap_or(name);
        let plain = !name.is_empty() && name.len() <= 128 && !name.contains(&b' ');
        (ends && plain).then_some(name)
    })
}

/// Reads a message from before there were codes; only what a compiler says counts.
fn unsupported_without_code(record: &LogRecord<'_>, findings: &mut Findings) -> bool {
    let from_compiler = record.level == LogLevel::Error
        || contains(record.body, "HLO opcode")
        || contains(record.body, "CustomCall target");
    let Some(name) = unsupported(record.body).filter(|_| from_compiler) else {
        return false;
    };
    let name = findings.text(name);
    let line = findings.text(record.body);
    findings.recognise(Producer::NeuronxCc);
    findings.is_attempted = true;
    let error = LogError {
        unsupported: Some(name),
        ..LogError::of(line)
    };
    findings.count_compiler_error(error);
    true
}

/// `Backend exited with code 1`.
fn backend_exit(body: &[u8]) -> Option<i64> {
    let rest = after(body, "exited with code ")?;
    Scan::new(rest).signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_age_are_found() {
        let cases = [
            (
                "x [INTERNAL_ERROR] [NCC_IBIR605] Bias",
                Some(("NCC_IBIR605", 2)),
            ),
            ("[XCG815]  Estimated", Some(("XCG815", 0))),
            (
                "2030-01-02T03:04:05Z [TEN404] (_add.12) x",
                Some(("TEN404", 21)),
            ),
            ("[F137] neuronx-cc was forcibly killed", Some(("F137", 0))),
            ("tensor[A100]", Some(("A100", 6))),
            ("[I-3551-1007] x", None),
            ("[ABCDE123] x", None),
            ("a[F12] x[", None),
        ];
        for (line, found) in cases {
            let code = find_code(line.as_bytes());
            let code = code.map(|(start, code, _)| (std::str::from_utf8(code).unwrap(), start));
            assert_eq!(code, found, "{line}");
        }
    }

    #[test]
    fn unsupported_operators_are_named() {
        let cases = [
            ("Operator topk is not supported. Locate", Some("topk")),
            (
                "unsupported HLO opcode \"set-dimension-size\"",
                Some("set-dimension-size"),
            ),
            (
                "Unsupported CustomCall target: ResizeBilinear.",
                Some("ResizeBilinear"),
            ),
            ("Operation sort is not supported on trn2", Some("sort")),
            ("Operator overloading in general is not supported", None),
            ("nothing", None),
        ];
        for (line, name) in cases {
            assert_eq!(
                unsupported(line.as_bytes()),
                name.map(str::as_bytes),
                "{line}"
            );
        }
    }
}
