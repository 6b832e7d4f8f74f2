//! Prints answers to stdout and everything else to stderr. A reader that closes the pipe is not an error.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use clap::error::ErrorKind;
use serde::Serialize;

use crate::failure::Failure;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AnswerFormat {
    /// For reading.
    Text,
    /// For programs.
    Json,
}

/// Prints an answer with a final newline.
pub(in crate::cli) fn answer(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to stdout"),
    }
}

/// Prints an answer as JSON.
pub(in crate::cli) fn json(value: &impl Serialize) -> Result<()> {
    answer(&serde_json::to_string_pretty(value)?)
}

/// Prints a remark to stderr. A failure is ignored, since there is nowhere to report it.
pub(in crate::cli) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints the error of a failed command and returns its exit code.
pub(in crate::cli) fn failure(error: &anyhow::Error) -> ExitCode {
    let mut causes = error.chain().map(ToString::to_string);
    let mut text = format!("error: {}", causes.next().unwrap_or_default());
    for cause in causes {
        text.push_str("\n  why:  ");
        text.push_str(&cause);
    }
    remark(&text);
    ExitCode::from(Failure::class_of(error).exit_code())
}

/// Prints a message of clap. Help and version are answers, all others are usage errors.
pub(in crate::cli) fn usage(error: &clap::Error) -> ExitCode {
    // A failure to print help is not reported.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

/// A number and a noun: `1 bucket`, `2 buckets`. The plural must be formed with an s.
pub(in crate::cli) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A size in megabytes for reading.
pub(in crate::cli) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
