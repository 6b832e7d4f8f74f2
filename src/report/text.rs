//! A report for the terminal: the verdict first, then the table, then the lists; 80 columns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::coverage::log::reading::{Outcome, Producer};
use crate::report::Report;
use crate::report::source::{LogFacts, Source};
use crate::report::subject::{Share, Subject};
use crate::report::verdict::{self, Grade};

/// The width that every line keeps to, as far as names let it.
const WIDTH: usize = 80;

/// Rows of a list that are shown; the rest is counted.
const ROWS_MAX: usize = 20;

/// Whether the text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Always,
    Never,
}

/// The whole report.
pub fn render(report: &Report, colour: Colour) -> String {
    let mut text = String::new();
    let (open, close) = paint(report.verdict.grade, colour);
    text.push_str(&format!("{open}{}{close}\n", wrap(&report.verdict.line, 0)));
    for reason in &report.verdict.reasons {
        let _ = writeln!(text, "  - {}", wrap(reason, 4));
    }
    push_table(&mut text, report);
    for (title, example) in distinct(&report.subjects) {
        push_lists(&mut text, &title, example);
    }
    for source in &report.sources {
        if let Some(log) = &source.log {
            push_log(&mut text, source, log);
        }
    }
    for subject in &report.subjects {
        for contradiction in &subject.contradictions {
            let line = format!("contradiction in {}: {contradiction}", subject.name);
            let _ = writeln!(text, "\n{}", wrap(&line, 2));
        }
    }
    push_advice(&mut text, report);
    text
}

/// What stands before and behind a coloured text.
fn paint(grade: Grade, colour: Colour) -> (String, String) {
    let hue = match grade {
        Grade::Full | Grade::Normal => AnsiColor::Green,
        Grade::Failed => AnsiColor::Red,
        Grade::Low | Grade::Analysis | Grade::Unknown => AnsiColor::Yellow,
    };
    let style: Style = hue.on_default().bold();
    match colour {
        Colour::Never => (String::new(), String::new()),
        Colour::Always => (style.render().to_string(), style.render_reset().to_string()),
    }
}

/// Text broken at words; lines after the first are indented.
fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

fn push_advice(text: &mut String, report: &Report) {
    for advice in &report.advice {
        let _ = writeln!(
            text,
            "\n{}",
            wrap(&format!("{}: {}", advice.name, advice.title), 2)
        );
        for (index, remedy) in advice.remedy.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", index + 1, wrap(remedy, 5));
        }
    }
}

/// One row for each subject, and a total where there are several.
fn push_table(text: &mut String, report: &Report) {
    let sources: BTreeSet<&str> = report
        .subjects
        .iter()
        .map(|subject| subject.source.as_str())
        .collect();
    let _ = writeln!(
        text,
        "\n{:<34} {:>13} {:>10} {:>9}  result",
        "", "on chip", "coverage", "graphs"
    );
    for subject in &report.subjects {
        let name = match sources.len() {
            1 => subject.name.clone(),
            _ => format!("{} {}", file_name(&subject.source), subject.name),
        };
        let graphs = subject.subgraphs.and_then(|graphs| {
            Some(format!(
                "{}/{}",
                graphs.compiled?,
                graphs.created.or(graphs.fused)?
            ))
        });
        let row = [
            shorten(&name, 34),
            on_chip(subject.share()),
            percent(subject.share()),
            graphs.unwrap_or_default(),
        ];
        let _ = writeln!(
            text,
            "{:<34} {:>13} {:>10} {:>9}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            outcome(subject.outcome)
        );
    }
    if report.subjects.len() > 1 {
        let _ = writeln!(
            text,
            "{:<34} {:>13} {:>10}",
            "total",
            on_chip(report.total.or(report.estimated)),
            percent(report.total.or(report.estimated))
        );
    }
}

fn file_name(source: &str) -> &str {
    source
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(source)
}

/// The end of a name is what differs.
fn shorten(name: &str, width: usize) -> String {
    let count = name.chars().count();
    match count > width {
        false => name.to_owned(),
        true => format!(
            "..{}",
            name.chars().skip(count - width + 2).collect::<String>()
        ),
    }
}

fn on_chip(share: Option<Share>) -> String {
    share.map_or("-".to_owned(), |share| {
        format!("{} of {}", share.part, share.whole)
    })
}

fn percent(share: Option<Share>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", share.percent))
}

/// An outcome in a word or two.
pub(super) fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "ok",
        Outcome::Partial => "in part",
        Outcome::Fail => "failed",
        Outcome::AnalyzeOnly => "analysis",
        Outcome::Unknown => "unknown",
    }
}

/// Subjects whose operators are the same, each group with its title and one of them.
pub(super) fn distinct(subjects: &[Subject]) -> Vec<(String, &Subject)> {
    let mut groups: Vec<(Vec<&str>, &Subject)> = Vec::new();
    for subject in subjects
        .iter()
        .filter(|subject| subject.on_chip.is_some() || subject.on_host.is_some())
    {
        let same =
            |known: &Subject| known.on_chip == subject.on_chip && known.on_host == subject.on_host;
        match groups.iter_mut().find(|(_, known)| same(known)) {
            Some((names, _)) => names.push(&subject.name),
            None => groups.push((vec![&subject.name], subject)),
        }
    }
    let title = |names: Vec<&str>| match (names.as_slice(), groups_of_all(subjects, &names)) {
        ([one], _) => (*one).to_owned(),
        (all, true) => format!("all {}", all.len()),
        ([first, rest @ ..], _) => format!("{first} and {} more", rest.len()),
        ([], _) => String::new(),
    };
    groups
        .iter()
        .map(|(names, subject)| (title(names.clone()), *subject))
        .collect()
}

fn groups_of_all(subjects: &[Subject], names: &[&str]) -> bool {
    names.len() == subjects.len()
}

fn push_lists(text: &mut String, title: &str, subject: &Subject) {
    if let Some(operators) = subject
        .on_host
        .as_ref()
        .filter(|operators| !operators.is_empty())
    {
        let _ = writeln!(text, "\non the host in {title}:");
        for entry in operators.iter().take(ROWS_MAX) {
            let tag = match entry.supported {
                Some(true) => "supported, but not placed on the chip",
                Some(false) => "not supported",
                None => "",
            };
            let row = format!("{:>8}  {:<28} {tag}", entry.count, entry.operator);
            let _ = writeln!(text, "{}", row.trim_end());
        }
        push_rest(text, operators.len());
    }
    if let Some(operators) = subject
        .on_chip
        .as_ref()
        .filter(|operators| !operators.is_empty())
    {
        let _ = writeln!(text, "\non the chip in {title}:");
        for entry in operators.iter().take(ROWS_MAX) {
            let _ = writeln!(text, "{:>8}  {}", entry.count, entry.operator);
        }
        push_rest(text, operators.len());
    }
}

fn push_rest(text: &mut String, rows: usize) {
    if rows > ROWS_MAX {
        let _ = writeln!(
            text,
            "          and {} more kinds; `--format json` has all",
            rows - ROWS_MAX
        );
    }
}

fn push_log(text: &mut String, source: &Source, log: &LogFacts) {
    let mut lines = Vec::new();
    if let Some(supported) = &log.analysis_percent {
        lines.push(format!(
            "analysis: {supported:.2} % supported, which is not coverage"
        ));
    }
    for error in log.errors.iter().take(ROWS_MAX) {
        let times = if error.count > 1 {
            format!(" ({} times)", error.count)
        } else {
            String::new()
        };
        lines.push(format!("error{times}: {}", verdict::cause(error)));
    }
    for notice in &log.notices {
        lines.push(format!(
            "warning ({} times): {}",
            notice.count,
            verdict::shortened(&notice.line)
        ));
    }
    if !log.complete {
        lines.push("the log seems to be cut off".to_owned());
    }
    if let Some(compiler) = &log.versions.compiler {
        lines.push(format!(
            "compiler {compiler}, {} passed, {} failed",
            log.statuses.pass, log.statuses.error
        ));
    }
    if lines.is_empty() {
        return;
    }
    let producers: Vec<&str> = log
        .producers
        .iter()
        .map(|producer| producer_name(*producer))
        .collect();
    let _ = writeln!(text, "\n{} ({})", source.name, producers.join(", "));
    for line in lines {
        let _ = writeln!(text, "  {}", wrap(&line, 4).trim_start());
    }
}

/// The name under which users know a producer.
pub(super) fn producer_name(producer: Producer) -> &'static str {
    match producer {
        Producer::TorchNeuron => "torch-neuron",
        Producer::TensorflowNeuron => "tensorflow-neuron",
        Producer::NeuronCc => "neuron-cc",
        Producer::TorchNeuronx => "torch-neuronx",
        Producer::NeuronxCc => "neuronx-cc",
        Producer::NeuronxWrapper => "the cache of neuronx-cc",
        Producer::NeuronParallelCompile => "neuron_parallel_compile",
        Producer::OptimumNeuron => "optimum-neuron",
        Producer::NxdInference => "NxD Inference",
        Producer::Unnamed => "a Neuron compiler",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_words() {
        let text = wrap(&"word ".repeat(40), 4);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("    word"));
    }

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        assert_eq!(shorten("a/very/long/name", 8), "..g/name");
        assert_eq!(shorten("short", 8), "short");
    }
}
