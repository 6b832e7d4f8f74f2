//! `neuronc explain`: looks codes, exit statuses and messages up, and prints what they mean.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use crate::cli::terminal::print::{self, AnswerFormat};
use crate::cli::terminal::wrap::wrap;
use crate::explain::{self, Explanation, Group, Severity};
use crate::failure::{Failure, name_list};

const EXAMPLES: &str = "\
Examples:
  neuronc explain NCC_EVRF001
  neuronc explain -9
  neuronc explain NRT 1005
  neuronc explain 'RuntimeError: neuronx-cc failed with 70'

Exit codes: 0 explained; 2 a code is not known.";

/// Say what a code, an exit status or a message of the Neuron tools means, and what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ExplainArgs {
    /// Codes, numbers, or a line of a log in quotes; all that is known when there is none.
    #[arg(allow_negative_numbers = true)]
    code: Vec<String>,

    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

/// A code as it was typed, and everything that it may mean.
#[derive(Serialize)]
struct ExplainAnswer {
    asked: String,
    entries: Vec<&'static Explanation>,
}

#[derive(Serialize)]
struct ExplainAnswers {
    schema_version: u32,
    answers: Vec<ExplainAnswer>,
}

#[derive(Serialize)]
struct AllEntries {
    schema_version: u32,
    entries: &'static [Explanation],
}

pub(in crate::cli) fn run(args: &ExplainArgs) -> Result<()> {
    let schema_version = explain::SCHEMA_VERSION;
    if args.code.is_empty() {
        return match args.format {
            AnswerFormat::Text => print::answer(&list()),
            AnswerFormat::Json => print::json(&AllEntries {
                schema_version,
                entries: explain::entries(),
            }),
        };
    }
    let answers = answers(&args.code);
    let unknown: Vec<String> = answers
        .iter()
        .filter(|answer| answer.entries.is_empty())
        .map(|answer| answer.asked.clone())
        .collect();
    match args.format {
        AnswerFormat::Text if unknown.len() == answers.len() => {}
        AnswerFormat::Text => print::answer(&text(&answers))?,
        AnswerFormat::Json => print::json(&ExplainAnswers {
            schema_version,
            answers,
        })?,
    }
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(unknown_codes(&unknown).into())
    }
}

/// One answer for each code, or one for all words together where they are a line without quotes.
fn answers(codes: &[String]) -> Vec<ExplainAnswer> {
    let answer = |asked: String| ExplainAnswer {
        entries: explain::candidates(&asked),
        asked,
    };
    let each: Vec<ExplainAnswer> = codes.iter().cloned().map(answer).collect();
    let is_prose = |text: &str| !text.contains(|c: char| c == '_' || c.is_ascii_digit());
    let mut unknown = each.iter().filter(|answer| answer.entries.is_empty());
    let first_is_prose = unknown.next().is_some_and(|answer| is_prose(&answer.asked));
    if first_is_prose && unknown.all(|answer| is_prose(&answer.asked)) {
        let line = answer(codes.join(" "));
        if !line.entries.is_empty() {
            return vec![line];
        }
    }
    each
}

fn unknown_codes(unknown: &[String]) -> Failure {
    let shown: Vec<String> = unknown.iter().map(|code| shortened(code)).collect();
    let (verb, them) = match unknown.len() {
        1 => ("is", "it"),
        _ => ("are", "them"),
    };
    let names = name_list(shown.iter().map(String::as_str));
    let near = unknown.iter().flat_map(|code| explain::nearest(code));
    let near: Vec<&str> = near.take(6).collect();
    let help = if near.is_empty() {
        "`neuronc explain` lists what is known".to_owned()
    } else {
        format!(
            "near {them}: {}\n`neuronc explain` lists what is known",
            name_list(near)
        )
    };
    Failure::usage(format!("{names} {verb} not known")).help(help)
}

/// The first 60 characters of a text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn text(answers: &[ExplainAnswer]) -> String {
    let known = answers.iter().filter(|answer| !answer.entries.is_empty());
    let parts: Vec<String> = known.map(answer_text).collect();
    parts.join("\n\n")
}

fn answer_text(answer: &ExplainAnswer) -> String {
    let mut parts: Vec<String> = answer
        .entries
        .iter()
        .map(|entry| entry_text(entry))
        .collect();
    if parts.len() > 1 {
        let asked = shortened(&answer.asked);
        parts.insert(
            0,
            wrap("", &format!("`{asked}` may be one of {}:", parts.len())),
        );
    }
    parts.join("\n\n")
}

fn entry_text(entry: &Explanation) -> String {
    let severity = match entry.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut text = wrap("", &format!("{}: {}", label(entry), entry.title));
    let mut push = |prefix: &str, content: &str| {
        let _ = write!(text, "\n{}", wrap(prefix, content));
    };
    push(
        "  kind     ",
        &format!("{severity} ({})", entry.group.title()),
    );
    if !entry.chips().is_empty() {
        push("  chips    ", &entry.chips().join(", "));
    }
    push("  meaning  ", &entry.meaning);
    for (index, step) in entry.remedy.iter().enumerate() {
        let prefix = match index {
            0 => "  remedy  ",
            _ => "          ",
        };
        push(&format!("{prefix} {}. ", index + 1), step);
    }
    push("  source   ", &entry.source);
    if !entry.confirmed {
        push("  caution  ", "no official source confirms this");
    }
    text
}

/// The name, with those numbers that are not part of it.
fn label(entry: &Explanation) -> String {
    let numbers = entry.numbers.iter().map(ToString::to_string);
    let more: Vec<String> = numbers
        .filter(|number| !entry.name.ends_with(&format!(" {number}")))
        .collect();
    if more.is_empty() {
        entry.name.clone()
    } else {
        format!("{} ({})", entry.name, more.join(", "))
    }
}

/// All entries, a line each, under the titles of their groups.
fn list() -> String {
    let group = |group: Group| {
        let entries = explain::entries().iter();
        let rows: Vec<(String, &str)> = entries
            .filter(|entry| entry.group == group)
            .map(|entry| (label(entry), entry.title.as_str()))
            .collect();
        let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let rows = rows
            .iter()
            .map(|(label, title)| wrap(&format!("  {label:<width$}  "), title));
        format!(
            "{}:\n{}",
            group.title(),
            rows.collect::<Vec<_>>().join("\n")
        )
    };
    Group::ALL.map(group).join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_quotes_are_one_line_only_where_none_looks_like_a_code() {
        let asked = |words: &[&str]| {
            let codes: Vec<String> = words.iter().map(ToString::to_string).collect();
            let answers = answers(&codes).into_iter().map(|answer| answer.asked);
            answers.collect::<Vec<String>>()
        };
        assert_eq!(asked(&["NRT", "1005"]), ["NRT 1005"]);
        assert_eq!(asked(&["70", "-9"]), ["70", "-9"]);
        assert_eq!(
            asked(&["NCC_EVRF001", "NCC_TYPO"]),
            ["NCC_EVRF001", "NCC_TYPO"]
        );
    }
}
