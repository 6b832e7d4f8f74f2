//! A report for an issue or a pull request.

use std::fmt::Write as _;

use crate::report::CoverageReport;
use crate::report::rows;
use crate::report::subject::Subject;
use crate::report::{text, verdict};

/// The whole report.
pub fn render(report: &CoverageReport) -> String {
    let mut page = format!("**{}**\n", escape(&report.verdict.line));
    for reason in &report.verdict.reasons {
        let _ = writeln!(page, "- {}", escape(reason));
    }
    page.push_str(
        "\n| source | what | on chip | coverage | result |\n| --- | --- | ---: | ---: | --- |\n",
    );
    for row in rows::rows(report) {
        let (count, percent) = row.figures();
        let (source, name, result) = (escape(&row.source), escape(&row.name), escape(&row.result));
        let _ = writeln!(
            page,
            "| {source} | {name} | {count} | {percent} | {result} |"
        );
    }
    for (title, subject) in text::distinct(&report.subjects) {
        push_list(&mut page, &title, subject);
    }
    push_errors(&mut page, report);
    push_advice(&mut page, report);
    page
}

fn push_list(page: &mut String, title: &str, subject: &Subject) {
    let host = subject.on_host.iter().flatten().map(|entry| {
        let tag = match entry.supported {
            Some(true) => "host (supported)",
            Some(false) => "host (not supported)",
            None => "host",
        };
        (entry.operator.clone(), entry.count, tag)
    });
    let chip = subject
        .on_chip
        .iter()
        .flatten()
        .map(|entry| (entry.operator.clone(), entry.count as u64, "chip"));
    let _ = writeln!(
        page,
        "\n<details><summary>operators of {}</summary>\n",
        escape(title)
    );
    page.push_str("| operator | count | runs on |\n| --- | ---: | --- |\n");
    for (operator, count, place) in host.chain(chip) {
        let _ = writeln!(page, "| {} | {count} | {place} |", code(&operator));
    }
    page.push_str("\n</details>\n");
}

fn push_errors(page: &mut String, report: &CoverageReport) {
    let logs = report
        .sources
        .iter()
        .filter_map(|source| Some((source, source.log.as_ref()?)));
    for (source, log) in logs {
        for error in &log.errors {
            let _ = writeln!(
                page,
                "\n{}: {}",
                code(&source.name),
                escape(&verdict::cause(error))
            );
        }
    }
    for subject in &report.subjects {
        for contradiction in &subject.contradictions {
            let _ = writeln!(
                page,
                "\ncontradiction in {}: {}",
                escape(&subject.name),
                escape(contradiction)
            );
        }
    }
}

fn push_advice(page: &mut String, report: &CoverageReport) {
    for advice in &report.advice {
        let _ = writeln!(
            page,
            "\n**{}**: {}\n",
            escape(&advice.name),
            escape(&advice.title)
        );
        for remedy in &advice.remedy {
            let _ = writeln!(page, "1. {}", escape(remedy));
        }
    }
}

/// A name as code, in which only a table's bar has to be escaped.
fn code(name: &str) -> String {
    let plain = name.replace(['`', '\n', '\r'], " ");
    format!("`{}`", plain.replace('|', "\\|"))
}

/// Text of a log must not become markup or end a table cell.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => safe.extend(['\\', character]),
            '<' => safe.push_str("&lt;"),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_log_stays_text() {
        assert_eq!(code("aten::_a|`b"), "`aten::_a\\| b`");
        assert_eq!(escape("a|b <x> *c*\nd"), "a\\|b &lt;x> \\*c\\* d");
    }
}
