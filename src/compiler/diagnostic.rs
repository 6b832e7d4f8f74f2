//! Why a compilation failed: memory, time, the compiler or the SDK; with the lines of the log that
//! matter and a way to run it again.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::bucket::Bucket;
use crate::command::{self, CommandError};
use crate::coverage::log;
use crate::executor::events::FailureClass;
use crate::explain;
use crate::failure::{Class, Failure};

/// Lines of the log that a failure shows.
const LINES_SHOWN: usize = 20;

/// Of these, how many lie before the first error.
const LINES_BEFORE: usize = 4;

/// A longer line is cut.
const LINE_CHARACTERS_MAX: usize = 300;

/// How compilers and kernels say that memory ran out, beside exit by signal 9.
const OUT_OF_MEMORY: [&str; 5] = [
    "[F137]",
    "NCC_EOOM",
    "failed with -9",
    "Compile command returned: -9",
    "MemoryError",
];

/// One compilation that failed.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub bucket: Bucket,
    pub log: &'a Path,
    pub rerun: &'a Path,
}

/// The failure of one compilation: `ended` is how its process failed, `reported` what it said itself.
pub fn failure(
    attempt: &Attempt,
    ended: Option<anyhow::Error>,
    reported: Option<(FailureClass, String)>,
) -> anyhow::Error {
    let bucket = attempt.bucket;
    let lines = lines_that_matter(attempt.log);
    let said = match (&reported, &ended) {
        (Some((_, message)), _) => message.clone(),
        (None, Some(error)) => first_line(&format!("{error:#}")),
        (None, None) => "it ended without an artifact and without an error".to_owned(),
    };
    let class = class(ended.as_ref(), reported.as_ref(), &said, &lines);
    let what = match class {
        Class::Resources => format!("memory or disk ran out while bucket {bucket} was compiled"),
        Class::Executor => format!("the SDK cannot compile bucket {bucket}"),
        Class::Usage => format!("bucket {bucket} cannot be compiled as asked"),
        _ => format!("the compilation of bucket {bucket} failed"),
    };
    let mut why = said.clone();
    for line in &lines {
        why.push_str("\n    | ");
        why.push_str(line);
    }
    let failure = Failure::new(class, what).why(why);
    let help = help(class, ended.as_ref(), &said, &lines);
    failure
        .help(format!(
            "{help}\nlog: {}\nonce more, this bucket alone: sh {}",
            attempt.log.display(),
            attempt.rerun.display()
        ))
        .into()
}

/// The failure of a compilation as a whole: the first one, and what became of the other buckets.
pub fn all(mut failures: Vec<(Bucket, anyhow::Error)>, compiled: usize) -> anyhow::Error {
    let (_, first) = failures.remove(0);
    let others: Vec<String> = failures
        .iter()
        .map(|(bucket, error)| format!("{bucket}: {}", first_line(&format!("{error:#}"))))
        .collect();
    let mut kept = format!(
        "{compiled} other buckets are compiled and kept: the same command goes on from there"
    );
    if compiled == 0 {
        kept = "no other bucket is compiled".to_owned();
    }
    let Some(failure) = first.downcast_ref::<Failure>() else {
        return first.context(kept);
    };
    let mut failure = failure.clone().add_help(kept);
    if !others.is_empty() {
        failure = failure.add_help(format!("also failed:\n{}", others.join("\n")));
    }
    failure.into()
}

fn class(
    ended: Option<&anyhow::Error>,
    reported: Option<&(FailureClass, String)>,
    said: &str,
    lines: &[String],
) -> Class {
    let told = |line: &str| OUT_OF_MEMORY.iter().any(|sign| line.contains(sign));
    let killed = matches!(
        ended.and_then(|error| error.downcast_ref()),
        Some(CommandError::Killed { signal: 9, .. })
    );
    if killed || told(said) || lines.iter().any(|line| told(line)) {
        return Class::Resources;
    }
    match reported {
        Some((FailureClass::Resources, _)) => Class::Resources,
        Some((FailureClass::Sdk | FailureClass::Device, _)) => Class::Executor,
        Some((FailureClass::Input, _)) => Class::Usage,
        Some((FailureClass::Compiler | FailureClass::Framework, _)) => Class::Compilation,
        None => match ended.and_then(|error| error.downcast_ref()) {
            Some(CommandError::NotFound { .. } | CommandError::CouldNotStart { .. }) => {
                Class::Executor
            }
            _ => Class::Compilation,
        },
    }
}

/// What to do now: by the table of `neuronc explain` where it knows the cause.
fn help(class: Class, ended: Option<&anyhow::Error>, said: &str, lines: &[String]) -> String {
    if let Some(CommandError::DeadlineExceeded { .. }) =
        ended.and_then(|error| error.downcast_ref())
    {
        return "give it longer with `--compile-timeout`, or compile a smaller bucket; \
                `--optlevel 1` compiles fastest where the compiler has it"
            .to_owned();
    }
    let known = std::iter::once(said)
        .chain(lines.iter().map(String::as_str))
        .find_map(explain::advice_for);
    match (class, known) {
        (_, Some(entry)) => format!(
            "{} (`neuronc explain {}`)",
            entry.remedy.join("\n"),
            entry.name
        ),
        (Class::Resources, None) => {
            "compile fewer buckets at once with `--jobs 1`, smaller ones first, \
                                     or on an instance with more memory"
                .to_owned()
        }
        (_, None) => "the cause is above, where the compiler names one".to_owned(),
    }
}

/// The lines around the first error of a log; its last lines where the reader finds none.
fn lines_that_matter(log: &Path) -> Vec<String> {
    let first = first_error(log);
    let found = first.and_then(|error| around(log, &error));
    let lines = found.unwrap_or_else(|| command::tail(log, LINES_SHOWN));
    lines.iter().map(|line| cut(line)).collect()
}

/// The text of the first error that the log reader sees.
fn first_error(log: &Path) -> Option<String> {
    let reading = log::read(File::open(log).ok()?).ok()?;
    Some(reading.errors.into_iter().next()?.line)
}

/// The lines around the first one that holds `text`.
fn around(log: &Path, text: &str) -> Option<Vec<String>> {
    let mut reader = BufReader::new(File::open(log).ok()?);
    let mut lines: VecDeque<String> = VecDeque::new();
    let mut bytes = Vec::new();
    let mut found = false;
    loop {
        bytes.clear();
        // A log that can no longer be read shows what was read.
        if reader.read_until(b'\n', &mut bytes).unwrap_or(0) == 0 {
            break;
        }
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        found = found || line.contains(text);
        lines.push_back(line);
        match found {
            true if lines.len() >= LINES_SHOWN => break,
            false if lines.len() > LINES_BEFORE => drop(lines.pop_front()),
            _ => {}
        }
    }
    found.then(|| lines.into())
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_owned(),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
