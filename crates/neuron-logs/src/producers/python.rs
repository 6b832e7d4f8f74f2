//! Python's tracebacks: the last resort when no compiler says why a run failed.

use super::line_format::LineFormat;
use crate::findings::Findings;
use crate::framing::needles::{Needle, Needles};
use crate::framing::record::LogRecord;
use crate::reading::LogError;
use crate::text::scan::{Scan, after, before, contains, is_word};

/// The most distinct exceptions that are kept; the first are closest to the cause.
const EXCEPTIONS_MAX: usize = 16;

/// The most lines of a traceback.
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
pub(super) struct PythonTracebacks {
    /// The lines that may still belong to the traceback; 0 outside of one.
    lines_left: usize,
    /// True when the traceback goes through a package of the SDK.
    in_package: bool,
    /// The exceptions since the last sign of success.
    exceptions: Vec<PythonException>,
    /// The number of successes before them.
    successes: u64,
}

struct PythonException {
    line: String,
    count: u64,
}

impl LineFormat for PythonTracebacks {
    /// Tracebacks stand between the lines of all formats, and none of their lines is claimed: the
    /// last one may be the error of a compiler.
    fn read(&mut self, _: &LogRecord<'_>, _: Needles<'_>, _: &mut Findings) -> bool {
        false
    }

    #[inline]
    fn observe(&mut self, record: &LogRecord<'_>, needles: Needles<'_>, findings: &mut Findings) {
        let body = record.body;
        if needles.has(Needle::Traceback) && (body.ends_with(b":") || body.ends_with(b")")) {
            self.forget_handled(findings);
            self.lines_left = TRACEBACK_LINES_MAX;
            self.in_package = false;
            return;
        }
        if body.first() == Some(&b't')
            && body.starts_with(b"terminate called after throwing an instance of")
        {
            self.forget_handled(findings);
            self.add(record, findings);
            return;
        }
        if self.lines_left > 0 {
            self.read_line(record, findings);
        }
    }

    /// Makes errors of the exceptions that nothing else explains.
    fn finish(mut self, findings: &mut Findings) {
        self.forget_handled(findings);
        let explained = !findings.reading.errors.is_empty() || is_usable(findings);
        if explained || !findings.reading.recognised {
            return;
        }
        for exception in self.exceptions {
            findings.report_error(LogError {
                count: exception.count,
                ..LogError::of(exception.line)
            });
        }
    }
}

impl PythonTracebacks {
    /// Reads a line of a traceback.
    fn read_line(&mut self, record: &LogRecord<'_>, findings: &mut Findings) {
        self.lines_left -= 1;
        self.in_package |= is_package_frame(record.body);
        match exception_role(record.body) {
            Some(ExceptionRole::Cause) => {
                // What a program does with a graph that was compiled is its own affair.
                if findings.successes == 0 || self.in_package {
                    self.add(record, findings);
                }
                self.lines_left = 0;
            }
            Some(ExceptionRole::Messenger) => self.lines_left = 0,
            None => {}
        }
    }

    /// Forgets what was raised before the last success: it was handled.
    fn forget_handled(&mut self, findings: &Findings) {
        if findings.successes > self.successes {
            self.exceptions.clear();
            self.successes = findings.successes;
        }
    }

    fn add(&mut self, record: &LogRecord<'_>, findings: &mut Findings) {
        let line = findings.text(record.body);
        if let Some(known) = self.exceptions.iter_mut().find(|it| it.line == line) {
            known.count += 1;
        } else if self.exceptions.len() < EXCEPTIONS_MAX {
            self.exceptions.push(PythonException { line, count: 1 });
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

/// The role of an exception in a failure.
enum ExceptionRole {
    Cause,
    /// It only passes on the failure of something else.
    Messenger,
}

/// The role of the exception in the last line of a traceback, `module.NameError: message`; `None`
/// for any other line.
fn exception_role(body: &[u8]) -> Option<ExceptionRole> {
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
        ExceptionRole::Messenger
    } else {
        ExceptionRole::Cause
    })
}

/// Whether figures say that a model was compiled, whatever came after.
fn is_usable(findings: &Findings) -> bool {
    let runs = findings.reading.runs.iter();
    let mut figures = runs.filter_map(|run| run.compiled);
    figures.any(|figure| figure.compiled > 0)
}
