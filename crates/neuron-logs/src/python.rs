//! Python's tracebacks: the last resort when no compiler says why a run failed.

use super::book::Book;
use super::lines::{Needle, Needles};
use super::reading::LogError;
use super::records::Record;
use super::scan::{Scan, after, before, contains, is_word};

/// More distinct exceptions than this are not kept; the first are closest to the cause.
const EXCEPTIONS_MAX: usize = 16;

/// A traceback is not longer than this many lines.
const TRACEBACK_LINES_MAX: usize = 2000;

/// Exceptions that only pass on a failure of something else.
const MESSENGERS: [&str; 7] = [
    "ChildFailedError",
    "CalledProcessError",
    "SubprocessError",
    "SystemExit",
    "KeyboardInterrupt",
    "BrokenPipeError",
    "StopIteration",
];

/// The traceback that is being read, and how those before it ended.
#[derive(Default)]
pub(super) struct Python {
    lines_left: usize,
    /// The traceback goes through a package of the SDK.
    in_package: bool,
    /// Since the last sign of success.
    exceptions: Vec<Exception>,
    successes: u64,
}

struct Exception {
    line: String,
    count: u64,
}

impl Python {
    pub(super) fn line(&mut self, record: &Record<'_>, needles: Needles<'_>, book: &mut Book) {
        let body = record.body;
        if needles.has(Needle::Traceback) && (body.ends_with(b":") || body.ends_with(b")")) {
            self.forget_handled(book);
            self.lines_left = TRACEBACK_LINES_MAX;
            self.in_package = false;
            return;
        }
        if body.first() == Some(&b't')
            && body.starts_with(b"terminate called after throwing an instance of")
        {
            self.forget_handled(book);
            self.add(record, book);
            return;
        }
        if self.lines_left == 0 {
            return;
        }
        self.lines_left -= 1;
        self.in_package |= is_package_frame(body);
        match is_exception(body) {
            Some(Weight::Cause) => {
                // What a program does with a graph that was compiled is its own affair.
                if book.successes == 0 || self.in_package {
                    self.add(record, book);
                }
                self.lines_left = 0;
            }
            Some(Weight::Messenger) => self.lines_left = 0,
            None => {}
        }
    }

    /// What was raised before a later success was handled.
    fn forget_handled(&mut self, book: &Book) {
        if book.successes > self.successes {
            self.exceptions.clear();
            self.successes = book.successes;
        }
    }

    fn add(&mut self, record: &Record<'_>, book: &mut Book) {
        let line = book.text(record.body);
        if let Some(known) = self.exceptions.iter_mut().find(|it| it.line == line) {
            known.count += 1;
        } else if self.exceptions.len() < EXCEPTIONS_MAX {
            self.exceptions.push(Exception { line, count: 1 });
        }
    }

    /// Makes errors of the exceptions that nothing else explains.
    pub(super) fn finish(mut self, book: &mut Book) {
        self.forget_handled(book);
        let explained = !book.reading.errors.is_empty() || book.is_usable();
        if explained || !book.reading.recognised {
            return;
        }
        for exception in self.exceptions {
            let error = LogError {
                line: exception.line,
                count: exception.count,
                ..LogError::default()
            };
            book.report(error);
        }
    }
}

/// Whether `body` is a frame in a package of the SDK, such as `site-packages/libneuronxla/`. The name
/// of the environment around it says nothing.
fn is_package_frame(body: &[u8]) -> bool {
    let frame = body.trim_ascii_start();
    let path = frame
        .starts_with(b"File \"")
        .then(|| before(&frame[6..], "\""));
    let package = path.and_then(|path| after(path, "-packages/"));
    package.is_some_and(|path| contains(path, "neuron"))
}

enum Weight {
    Cause,
    Messenger,
}

/// Whether `body` is the last line of a traceback: `module.NameError: message`.
fn is_exception(body: &[u8]) -> Option<Weight> {
    let mut scan = Scan::new(body);
    let name = scan.take_while(|byte| is_word(byte) || byte == b'.');
    if !(scan.rest.is_empty() || scan.rest.starts_with(b":")) {
        return None;
    }
    let name = name.rsplit(|byte| *byte == b'.').next()?;
    let ends = ["Error", "Exception", "Exit", "Interrupt", "Iteration"];
    if name.len() < 5 || !ends.iter().any(|end| name.ends_with(end.as_bytes())) {
        return None;
    }
    let messenger = MESSENGERS
        .iter()
        .any(|messenger| messenger.as_bytes() == name);
    Some(if messenger {
        Weight::Messenger
    } else {
        Weight::Cause
    })
}

impl Book {
    /// Whether figures say that a model was compiled, whatever came after.
    fn is_usable(&self) -> bool {
        let mut figures = self.reading.runs.iter().filter_map(|run| run.compiled);
        figures.any(|figure| figure.compiled > 0)
    }
}
