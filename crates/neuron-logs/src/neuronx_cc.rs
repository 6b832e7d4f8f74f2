//! neuronx-cc and what both compilers share: statuses, codes, exit codes, unsupported operators.

use super::book::{Book, Origin};
use super::command;
use super::lines::{Needle, Needles};
use super::reading::{LogError, Producer, Status};
use super::records::{Level, Logger, Record};
use super::scan::{Scan, after, before, contains};

/// The start of every status line.
const STATUS: &str = "Compiler status ";

/// Reads a line; false if it is none of a compiler.
pub(super) fn line(record: &Record<'_>, needles: Needles<'_>, book: &mut Book) -> bool {
    if needles.has(Needle::Status) && status(record.body, book).is_some() {
        return true;
    }
    let known = match record.body.first() {
        Some(b'C') => completed(record.body, book),
        Some(b'S') => exit_code(record.body, book),
        Some(b'/') => called(record, book),
        Some(b'R') => failed_with(record, book),
        Some(b'n' | b'u') => usage(record, book),
        _ => None,
    };
    let coded = is_candidate(record, needles) && code(record, needles, book);
    if !coded && needles.has(Needle::BackendExit) {
        book.pending_exit = backend_exit(record.body);
    }
    known.is_some() || coded
}

/// `Compiler status PASS`, alone at the end of a body.
fn status(body: &[u8], book: &mut Book) -> Option<()> {
    let rest = after(body, STATUS)?;
    let quoted = body.len() > rest.len() + STATUS.len()
        && matches!(
            body[body.len() - rest.len() - STATUS.len() - 1],
            b'"' | b'\'' | b'`'
        );
    let mut scan = Scan::new(rest);
    let status = match scan.take_while(|byte| byte.is_ascii_alphanumeric()) {
        b"PASS" => Status::Pass,
        b"ERROR" => Status::Error,
        _ => return None,
    };
    if quoted || matches!(scan.rest.first(), Some(b'"' | b'\'' | b'`' | b'_')) {
        return None;
    }
    book.status(status);
    book.saw(Producer::Unnamed);
    Some(())
}

fn completed(body: &[u8], book: &mut Book) -> Option<()> {
    let backend = body.starts_with(b"Completed run_backend_driver.");
    backend.then(|| book.saw(Producer::NeuronxCc))
}

/// `Subcommand returned with exitcode=70`.
fn exit_code(body: &[u8], book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(body);
    scan.lit("Subcommand returned with exitcode=")?;
    let code = scan.signed()?;
    book.saw(Producer::NeuronxCc);
    if book.origin == Origin::Own && book.attempted {
        book.graph_exit(code);
    }
    // The first failure says more than the first success.
    if book.reading.exit_code.is_none_or(|known| known == 0) {
        book.reading.exit_code = Some(code);
    }
    Some(())
}

/// `/opt/…/bin/neuronx-cc compile …`, the first record of a `log-neuron-cc.txt`.
fn called(record: &Record<'_>, book: &mut Book) -> Option<()> {
    if record.logger != Logger::NeuronxCc {
        return None;
    }
    let rest = after(before_blank(record.body), "/neuronx-cc")?;
    if !rest.is_empty() {
        return None;
    }
    book.saw(Producer::NeuronxCc);
    if !contains(record.body, " --help") {
        book.attempted = true;
        book.origin = Origin::Own;
        book.graph_begins(record.body);
        command::neuronx_cc(record.body, book);
    }
    Some(())
}

fn before_blank(text: &[u8]) -> &[u8] {
    before(text, " ")
}

/// `RuntimeError: neuronx-cc failed with 70`.
fn failed_with(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body);
    scan.lit("RuntimeError: neuronx-cc failed with ")?;
    let code = scan.signed()?;
    book.saw(Producer::TorchNeuronx);
    book.attempted = true;
    book.graph_exit(code);
    if let Some(last) = book.reading.errors.last_mut() {
        last.exit_status.get_or_insert(code);
        return Some(());
    }
    let line = book.text(record.body);
    let error = LogError {
        line,
        exit_status: Some(code),
        ..LogError::default()
    };
    book.count_error_of_compiler(error);
    Some(())
}

/// What argparse says when the arguments are wrong.
fn usage(record: &Record<'_>, book: &mut Book) -> Option<()> {
    let mut scan = Scan::new(record.body);
    if scan.lit("usage: neuron").is_some() {
        let neuronx = scan.lit("x-cc").is_some();
        if !neuronx {
            scan.lit("-cc")?;
        }
        book.saw(if neuronx {
            Producer::NeuronxCc
        } else {
            Producer::NeuronCc
        });
        book.attempted = true;
        let line = book.text(record.body);
        book.vague_error.get_or_insert(line);
        return Some(());
    }
    let neuronx = scan.lit("neuronx-cc").is_some();
    if !neuronx {
        scan.lit("neuron-cc")?;
    }
    let words = before(scan.rest, ": error: ");
    let plain = words
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(byte));
    if !plain || words.len() == scan.rest.len() {
        return None;
    }
    book.saw(if neuronx {
        Producer::NeuronxCc
    } else {
        Producer::NeuronCc
    });
    book.attempted = true;
    let error = LogError::of(book.text(record.body));
    book.count_error_of_compiler(error);
    Some(())
}

/// Whether a line may hold a code or name something unsupported: a cheap test.
fn is_candidate(record: &Record<'_>, needles: Needles<'_>) -> bool {
    needles.has(Needle::Code)
        || needles.has(Needle::BackendExit)
        || record.level == Level::Error
        || record.body.first() == Some(&b'[')
        || (matches!(record.logger, Logger::NeuronxCc | Logger::Wrapper)
            && memchr::memchr(b'[', record.body).is_some())
        || needles.has(Needle::Unsupported)
        || needles.has(Needle::NotSupported)
}

/// Reads a coded error, or an unsupported operator without one.
fn code(record: &Record<'_>, needles: Needles<'_>, book: &mut Book) -> bool {
    let Some((start, code, message)) = find_code(record.body) else {
        return unsupported_without_code(record, book);
    };
    let body = record.body;
    let mut message = Scan::new(message);
    message.blanks();
    let operation = hlo_operation(&mut message).map(|name| book.text(name));
    let unsupported = unsupported(message.rest).map(|name| book.text(name));
    let line = before(&body[start..], " - Please open a support ticket").trim_ascii_end();
    let line = book.text(line);
    let exit = needles
        .has(Needle::BackendExit)
        .then(|| backend_exit(body))
        .flatten();
    let is_echo = exit.is_some() || record.rank.is_some() || contains(&body[..start], "Error");
    let rank = record.rank;
    let error = LogError {
        code: Some(String::from_utf8_lossy(code).into_owned()),
        line,
        hlo_operation: operation,
        unsupported,
        ..LogError::default()
    };
    book.saw(Producer::NeuronxCc);
    if book.reading.exit_code == Some(0) && record.logger == Logger::Other {
        book.origin = Origin::OtherProgram;
    }
    if let Some(known) = book.report_of_compiler(error) {
        if !is_echo || known.count == 0 {
            known.count += 1;
        }
        match exit {
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

/// More ranks than this are not listed.
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

/// The length of `NCC_EOOM001`, `XCG815`, `F137` if a closing bracket follows it.
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

/// The severity in brackets belongs to the line of the error.
fn line_start(body: &[u8], open: usize) -> usize {
    for word in ["[INTERNAL_ERROR] ", "[ERROR] "] {
        if body[..open].ends_with(word.as_bytes()) {
            return open - word.len();
        }
    }
    open
}

/// `(_add.12) ` behind a code.
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

/// How messages name what is unsupported: the text before the name, and the one behind it.
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

/// Forms from before there were codes; only what a compiler says counts.
fn unsupported_without_code(record: &Record<'_>, book: &mut Book) -> bool {
    let from_compiler = record.level == Level::Error
        || contains(record.body, "HLO opcode")
        || contains(record.body, "CustomCall target");
    let Some(name) = unsupported(record.body).filter(|_| from_compiler) else {
        return false;
    };
    let name = book.text(name);
    let line = book.text(record.body);
    book.saw(Producer::NeuronxCc);
    book.attempted = true;
    let error = LogError {
        line,
        unsupported: Some(name),
        ..LogError::default()
    };
    book.count_error_of_compiler(error);
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
