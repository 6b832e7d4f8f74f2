//! A benchmark as text for reading.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bench::tally::PartLatency;
use crate::bench::{BenchReport, RunReport};

/// Further cores or buckets are only counted.
const PARTS_MAX: usize = 12;

/// The report as text.
pub fn text(report: &BenchReport) -> String {
    let mut text = format!(
        "{}\n  texts: {}; seed {}\n",
        report.url, report.texts, report.seed
    );
    let _ = write!(
        text,
        "\n  {:<18}{:>11}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}",
        "load", "requests/s", "p50 ms", "p90", "p99", "p99.9", "max", "failed"
    );
    for run in &report.runs {
        text.push('\n');
        text.push_str(&row(run));
    }
    text.push('\n');
    if let Some(promised) = report.promise {
        let found = match promised.highest_rate {
            Some(rate) => format!("holds up to {rate:.0} requests/s"),
            None => "did not hold at any rate that was tried".to_owned(),
        };
        let _ = write!(text, "\n  {}: {found}\n", promised.promise);
    }
    for run in &report.runs {
        let details = details(run);
        if !details.is_empty() {
            let _ = write!(text, "\n  {}\n{details}", run.load);
        }
    }
    for note in &report.notes {
        let _ = write!(text, "\nnote: {note}");
    }
    text
}

/// One line of the table.
pub fn row(run: &RunReport) -> String {
    let mut row = format!("  {:<18}{:>11.1}", run.load.to_string(), run.per_second);
    match run.counts.latency_ms {
        Some(latency) => {
            let _ = write!(row, "{:>10.2}", latency.p50);
            for value in [latency.p90, latency.p99, latency.p99_9, latency.max] {
                let _ = write!(row, "{value:>9.2}");
            }
        }
        None => {
            let _ = write!(row, "{:>10}{:>9}{:>9}{:>9}{:>9}", "-", "-", "-", "-", "-");
        }
    }
    let _ = write!(row, "{:>8}", run.counts.failures());
    if let Some(held) = run.held {
        row.push_str(if held { "  holds" } else { "  broken" });
    }
    row
}

fn details(run: &RunReport) -> String {
    let mut text = String::new();
    let statuses = run.counts.statuses.iter();
    let outcomes: Vec<String> = statuses
        .map(|(status, count)| format!("{count} x {status}"))
        .chain(
            run.counts
                .errors
                .iter()
                .map(|(why, count)| format!("{count} x {why}")),
        )
        .collect();
    let _ = writeln!(text, "    answers: {}", outcomes.join(", "));
    for (status, reason) in &run.counts.reasons {
        let _ = writeln!(text, "    {status}: {reason}");
    }
    if run.counts.models.len() > 1 {
        text.push_str(&breakdown("model", &run.counts.models, run.counts.requests));
    }
    for (title, parts) in [("core", &run.counts.cores), ("bucket", &run.counts.buckets)] {
        text.push_str(&breakdown(title, parts, run.counts.requests));
    }
    if let Some(usage) = run.processors {
        let _ = writeln!(
            text,
            "    processor time a request: server {:.0} us, load generator {:.0} us\n    \
             processors busy of {}: server {:.2}, load generator {:.2}, others {:.2}",
            usage.server_micros_per_request,
            usage.client_micros_per_request,
            usage.processors,
            usage.server,
            usage.client,
            usage.others,
        );
    }
    text
}

fn breakdown(title: &str, parts: &BTreeMap<String, PartLatency>, requests: u64) -> String {
    let mut text = String::new();
    for (name, part) in parts.iter().take(PARTS_MAX) {
        let share = part.requests as f64 / requests.max(1) as f64 * 100.0;
        let _ = writeln!(
            text,
            "    {:<16}{:>5.1} %   p50 {:.2} ms   p99 {:.2} ms",
            format!("{title} {name}:"),
            share,
            part.p50_ms,
            part.p99_ms
        );
    }
    if parts.len() > PARTS_MAX {
        let _ = writeln!(text, "    and {} more", parts.len() - PARTS_MAX);
    }
    text
}
