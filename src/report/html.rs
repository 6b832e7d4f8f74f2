//! A report as one self-contained page: no network, no script.

use std::fmt::Write as _;

use crate::html::escape;
use crate::report::CoverageReport;
use crate::report::rows::{self, ReportRow};
use crate::report::subject::Subject;
use crate::report::verdict::Grade;
use crate::report::{text, verdict};

const STYLE: &str = include_str!("report.css");

/// Bars of a chart; the rest is counted.
const BARS_MAX: usize = 40;

/// The whole page.
pub fn render(report: &CoverageReport) -> String {
    let mut page = String::new();
    let grade = match report.verdict.grade {
        Grade::Full | Grade::Normal => "good",
        Grade::Failed => "bad",
        Grade::Low | Grade::Analysis | Grade::Unknown => "open",
    };
    let verdict = escape(&report.verdict.line);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{verdict}</title>\n<style>{STYLE}</style></head>\n<body>\n\
         <h1 class=\"{grade}\">{verdict}</h1>\n"
    );
    push_items(&mut page, &report.verdict.reasons);
    push_table(&mut page, report);
    for (title, subject) in text::distinct(&report.subjects) {
        push_chart(&mut page, &title, subject);
    }
    push_errors(&mut page, report);
    for advice in &report.advice {
        let _ = writeln!(page, "<h2>{}</h2>", escape(&advice.title));
        push_items(&mut page, &advice.remedy);
    }
    page.push_str("</body></html>\n");
    page
}

fn push_items(page: &mut String, items: &[String]) {
    if items.is_empty() {
        return;
    }
    page.push_str("<ul>\n");
    for item in items {
        let _ = writeln!(page, "<li>{}</li>", escape(item));
    }
    page.push_str("</ul>\n");
}

fn push_table(page: &mut String, report: &CoverageReport) {
    page.push_str(
        "<table><thead><tr><th>source</th><th>what</th><th class=\"n\">on chip</th>\
         <th class=\"n\">coverage</th><th></th><th>result</th></tr></thead>\n<tbody>\n",
    );
    for row in rows::rows(report) {
        push_row(page, &row);
    }
    page.push_str("</tbody></table>\n");
}

fn push_row(page: &mut String, row: &ReportRow) {
    let (count, percent) = row.figures();
    let meter = row.share.map_or_else(String::new, |share| {
        format!(
            "<span class=\"meter\"><span style=\"width:{:.1}%\"></span></span>",
            share.percent
        )
    });
    let _ = writeln!(
        page,
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{count}</td><td class=\"n\">{percent}</td><td>{meter}</td><td>{}</td></tr>",
        escape(&row.source),
        escape(&row.name.replace(" MODULE_", " ")),
        escape(&row.result),
    );
}

/// Horizontal bars, one for each operator: its count on the chip and on the host.
fn push_chart(page: &mut String, title: &str, subject: &Subject) {
    let mut bars: Vec<(&str, u64, u64, &str)> = Vec::new();
    for entry in subject.on_chip.iter().flatten() {
        bars.push((&entry.operator, entry.count as u64, 0, ""));
    }
    for entry in subject.on_host.iter().flatten() {
        let tag = match entry.supported {
            Some(false) => ", not supported",
            Some(true) => "",
            None => "",
        };
        match bars
            .iter_mut()
            .find(|(operator, ..)| *operator == entry.operator)
        {
            Some(bar) => (bar.2, bar.3) = (entry.count, tag),
            None => bars.push((&entry.operator, 0, entry.count, tag)),
        }
    }
    bars.sort_by_key(|(operator, chip, host, _)| (std::cmp::Reverse(chip + host), *operator));
    let longest = bars
        .iter()
        .map(|(_, chip, host, _)| chip + host)
        .max()
        .unwrap_or(1)
        .max(1);
    let _ = writeln!(
        page,
        "<h2>operators of {}</h2>\n<p class=\"key\"><span class=\"chip\"></span> on the chip \
         <span class=\"host\"></span> on the host</p>\n<div class=\"chart\" role=\"img\" \
         aria-label=\"operators on chip and host\">",
        escape(title)
    );
    let width = |count: u64| count as f64 * 100.0 / longest as f64;
    for (operator, chip, host, tag) in bars.iter().take(BARS_MAX) {
        let counts = match host {
            0 => chip.to_string(),
            _ => format!("{chip} on chip, {host} on host{tag}"),
        };
        let _ = writeln!(
            page,
            "<span class=\"name\">{}</span><span class=\"bar\"><i class=\"chip\" style=\"width:{:.2}%\"></i>\
             <i class=\"host\" style=\"width:{:.2}%\"></i></span><span class=\"count\">{}</span>",
            escape(operator),
            width(*chip),
            width(*host),
            escape(counts.trim_end()),
        );
    }
    page.push_str("</div>\n");
    if bars.len() > BARS_MAX {
        let _ = writeln!(
            page,
            "<p>and {} more kinds of operators</p>",
            bars.len() - BARS_MAX
        );
    }
}

fn push_errors(page: &mut String, report: &CoverageReport) {
    let logs = report
        .sources
        .iter()
        .filter_map(|source| Some((source, source.log.as_ref()?)));
    for (source, log) in logs {
        let errors: Vec<String> = log.errors.iter().map(verdict::cause).collect();
        if !errors.is_empty() {
            let _ = writeln!(page, "<h2>errors in {}</h2>", escape(&source.name));
            push_items(page, &errors);
        }
    }
    let contradictions: Vec<String> = report
        .subjects
        .iter()
        .flat_map(|subject| {
            subject
                .contradictions
                .iter()
                .map(|found| format!("{}: {found}", subject.name))
        })
        .collect();
    if !contradictions.is_empty() {
        page.push_str("<h2>contradictions</h2>\n");
        push_items(page, &contradictions);
    }
}
