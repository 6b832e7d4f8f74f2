//! A report for the terminal: the verdict first, then the table, then the lists; 80 columns.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use neuron_logs::reading::{CompilationOutcome, GraphStatus, LogGraph};

use crate::report::CoverageReport;
use crate::report::graphs;
use crate::report::source::{LogFacts, ReportSource};
use crate::report::subject::{Share, Subject};
use crate::report::verdict::{self, Grade};
use crate::report::width::{WIDTH, elide, wrap};

/// The least and the most of a table's width that names have; a graph's name is that of a module.
const NAME_WIDTH_MIN: usize = 16;
const NAME_WIDTH_MAX: usize = 34;
const GRAPH_WIDTH_MAX: usize = 41;

/// The width of a file's name in it, where there are several files.
const FILE_WIDTH: usize = 16;

/// The most of it that results have; a code has up to eleven characters.
const RESULT_WIDTH_MAX: usize = 24;

/// The most graphs that are shown; the rest is counted.
const GRAPHS_MAX: usize = 60;

/// The most entries of a list that are shown; the rest is counted.
const ROWS_MAX: usize = 20;

/// Whether the text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextColour {
    Always,
    Never,
}

/// The whole report.
pub fn render(report: &CoverageReport, colour: TextColour) -> String {
    let mut text = String::new();
    let (open, close) = paint(report.verdict.grade, colour);
    text.push_str(&format!("{open}{}{close}\n", wrap(&report.verdict.line, 0)));
    for reason in &report.verdict.reasons {
        let _ = writeln!(text, "  - {}", wrap(reason, 4));
    }
    text.push('\n');
    push_tables(&mut text, report);
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

/// The codes before and behind a coloured text.
fn paint(grade: Grade, colour: TextColour) -> (String, String) {
    let hue = match grade {
        Grade::Full | Grade::Normal => AnsiColor::Green,
        Grade::Failed => AnsiColor::Red,
        Grade::Low | Grade::Analysis | Grade::Unknown => AnsiColor::Yellow,
    };
    let style: Style = hue.on_default().bold();
    match colour {
        TextColour::Never => (String::new(), String::new()),
        TextColour::Always => (style.render().to_string(), style.render_reset().to_string()),
    }
}

fn push_advice(text: &mut String, report: &CoverageReport) {
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

/// One row for each subject, and a total where there are several. Subjects that are graphs have no
/// figures, and a table of their own.
fn push_tables(text: &mut String, report: &CoverageReport) {
    let (graphs, others): (Vec<&Subject>, Vec<&Subject>) = report
        .subjects
        .iter()
        .partition(|subject| subject.graph.is_some());
    let sources: BTreeSet<&str> = report
        .subjects
        .iter()
        .map(|subject| subject.source.as_str())
        .collect();
    let several = sources.len() > 1;
    if !others.is_empty() {
        push_figures(text, report, &others, several);
    }
    if let Some(counts) = report.graphs {
        text.push_str(if others.is_empty() { "" } else { "\n" });
        push_graphs(text, &graphs, several);
        let _ = writeln!(text, "{}", wrap(&counts.in_words(), 2));
    }
}

/// The name of a row, with its file where there are several.
fn row_name(subject: &Subject, several: bool) -> String {
    let own = subject.name.replace(" MODULE_", " ");
    if several {
        format!("{} {own}", elide(file_name(&subject.source), FILE_WIDTH))
    } else {
        own
    }
}

fn push_figures(text: &mut String, report: &CoverageReport, subjects: &[&Subject], several: bool) {
    let row = |name: String, share: Option<Share>, subgraphs: String, result: &str| {
        let result = result.to_owned();
        [name, on_chip(share), percent(share), subgraphs, result]
    };
    let mut rows: Vec<[String; 5]> = subjects
        .iter()
        .map(|subject| {
            let name = row_name(subject, several);
            let result = outcome(subject.outcome);
            row(name, subject.share(), subgraphs(subject), result)
        })
        .collect();
    let total = report.total.or(report.estimated);
    if subjects.len() > 1 {
        rows.push(row("total".to_owned(), total, String::new(), ""));
    }
    let heads = ["", "on chip", "coverage", "graphs", "result"];
    push_rows(text, heads, [13, 10, 9, 0], NAME_WIDTH_MAX, &rows);
}

fn push_graphs(text: &mut String, subjects: &[&Subject], several: bool) {
    let none_or = |count: u64| match count {
        0 => "-".to_owned(),
        count => count.to_string(),
    };
    let row = |(subject, graph): (&Subject, &LogGraph)| {
        let seconds = graph.elapsed_s.map(|seconds| format!("{seconds:.1} s"));
        [
            row_name(subject, several),
            none_or(graph.progress_dots),
            seconds.unwrap_or_else(|| "-".to_owned()),
            none_or(graph.cache_hits),
            graphs::result(graph),
        ]
    };
    let rows: Vec<[String; 5]> = shown(subjects).into_iter().map(row).collect();
    let heads = ["", "dots", "time", "cached", "result"];
    push_rows(text, heads, [5, 5, 6, 0], GRAPH_WIDTH_MAX, &rows);
    let hidden = subjects.len() - rows.len();
    if hidden > 0 {
        let _ = writeln!(text, "and {hidden} more; `--format json` has all");
    }
}

/// The graphs that are shown, in the order of the log. When there are too many, those that passed are
/// left out first.
fn shown<'a>(subjects: &[&'a Subject]) -> Vec<(&'a Subject, &'a LogGraph)> {
    let all = || {
        subjects
            .iter()
            .filter_map(|it| Some((*it, it.graph.as_ref()?)))
    };
    let is_good =
        |graph: &LogGraph| matches!(graph.status, GraphStatus::Passed | GraphStatus::Cached);
    let bad = all().filter(|(_, graph)| !is_good(graph)).count();
    let (mut good_left, mut bad_left) = (GRAPHS_MAX.saturating_sub(bad), GRAPHS_MAX);
    let fits = |(_, graph): &(&Subject, &LogGraph)| {
        let left = if is_good(graph) {
            &mut good_left
        } else {
            &mut bad_left
        };
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    };
    all().filter(fits).collect()
}

/// A table whose first column has at most `name_max` characters and gives way to the others, which
/// are at least as wide as `least`.
fn push_rows(
    text: &mut String,
    heads: [&str; 5],
    least: [usize; 4],
    name_max: usize,
    rows: &[[String; 5]],
) {
    let mut widths = least;
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row[1..]) {
            *width = cell.chars().count().max(*width);
        }
    }
    widths[3] = widths[3].min(RESULT_WIDTH_MAX).max(heads[4].len());
    let taken: usize = widths.iter().sum::<usize>() + 5;
    let name = WIDTH.saturating_sub(taken).clamp(NAME_WIDTH_MIN, name_max);
    let mut push = |cells: [&str; 5]| {
        let line = format!(
            "{:<name$} {:>one$} {:>two$} {:>three$}  {}",
            elide(cells[0], name),
            cells[1],
            cells[2],
            cells[3],
            elide(cells[4], RESULT_WIDTH_MAX),
            one = widths[0],
            two = widths[1],
            three = widths[2],
        );
        let _ = writeln!(text, "{}", line.trim_end());
    };
    push(heads);
    for row in rows {
        push([&row[0], &row[1], &row[2], &row[3], &row[4]]);
    }
}

fn subgraphs(subject: &Subject) -> String {
    let graphs = subject.subgraphs.and_then(|graphs| {
        Some(format!(
            "{}/{}",
            graphs.compiled?,
            graphs.created.or(graphs.fused)?
        ))
    });
    graphs.unwrap_or_default()
}

fn file_name(source: &str) -> &str {
    source
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(source)
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
pub(super) fn outcome(outcome: CompilationOutcome) -> &'static str {
    match outcome {
        CompilationOutcome::Pass => "ok",
        CompilationOutcome::Partial => "in part",
        CompilationOutcome::Fail => "failed",
        CompilationOutcome::AnalyzeOnly => "analysis",
        CompilationOutcome::Unknown => "unknown",
    }
}

/// Groups of subjects whose operators are the same: for each its title and one subject.
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
        let _ = writeln!(text, "\non the host in {}:", elide(title, WIDTH - 20));
        for entry in operators.iter().take(ROWS_MAX) {
            let tag = match entry.supported {
                Some(true) => "supported, but not placed on the chip",
                Some(false) => "not supported",
                None => "",
            };
            let name = elide(&entry.operator, 32);
            let row = format!("{:>8}  {name:<28} {tag}", entry.count);
            let _ = writeln!(text, "{}", row.trim_end());
        }
        push_rest(text, operators.len());
    }
    if let Some(operators) = subject
        .on_chip
        .as_ref()
        .filter(|operators| !operators.is_empty())
    {
        let _ = writeln!(text, "\non the chip in {}:", elide(title, WIDTH - 20));
        for entry in operators.iter().take(ROWS_MAX) {
            let name = elide(&entry.operator, WIDTH - 20);
            let _ = writeln!(text, "{:>8}  {name}", entry.count);
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

fn push_log(text: &mut String, source: &ReportSource, log: &LogFacts) {
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
        .map(|producer| producer.name())
        .collect();
    let head = format!("{} ({})", elide(&source.name, WIDTH), producers.join(", "));
    let _ = writeln!(text, "\n{}", wrap(&head, 2));
    for line in lines {
        let _ = writeln!(text, "  {}", wrap(&line, 4).trim_start());
    }
}
