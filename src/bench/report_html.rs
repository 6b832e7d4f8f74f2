//! A benchmark as one self-contained page with charts: no network, no script.

use std::fmt::Write as _;

use crate::bench::report_text;
use crate::bench::{BenchReport, RunReport};
use crate::html::escape;

const STYLE: &str = include_str!("bench.css");

/// Colours of the lines of a chart, in turn.
const COLOURS: [&str; 8] = [
    "#1b6ca8", "#c8553d", "#3d8c40", "#8e5ea2", "#b8860b", "#008080", "#a0522d", "#555555",
];

/// Number of runs that a chart shows; of a longer search, the last ones.
const RUNS_MAX: usize = 16;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 40.0;

/// The whole page.
pub fn html(report: &BenchReport) -> String {
    let url = escape(&report.url);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{url}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{url}</h1>\n\
         <p>Texts: {}; seed {}.</p>\n",
        escape(&report.texts),
        report.seed
    );
    for note in &report.notes {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    if let Some(promised) = report.promise {
        let found = match promised.highest_rate {
            Some(rate) => format!("holds up to {rate:.0} requests/s"),
            None => "did not hold at any rate that was tried".to_owned(),
        };
        let _ = writeln!(page, "<p class=\"found\">{} {found}.</p>", promised.promise);
    }
    let runs = &report.runs[report.runs.len().saturating_sub(RUNS_MAX)..];
    page.push_str("<h2>Requests per second</h2>\n");
    page.push_str(&bars(runs));
    page.push_str("<h2>Latency by percentile</h2>\n");
    page.push_str(&percentiles(runs));
    page.push_str("<h2>Numbers</h2>\n");
    page.push_str(&table(report));
    let _ = write!(
        page,
        "<h2>All of it</h2>\n<pre>{}</pre>\n</body></html>\n",
        escape(&report_text::text(report))
    );
    page
}

fn bars(runs: &[RunReport]) -> String {
    const ROW: f64 = 26.0;
    let most = runs.iter().map(|run| run.per_second).fold(1.0, f64::max);
    let height = ROW * runs.len() as f64 + 8.0;
    let mut svg = open(height, "Requests per second of each load");
    for (index, run) in runs.iter().enumerate() {
        let y = ROW * index as f64 + 4.0;
        let width = run.per_second / most * (WIDTH - 320.0);
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<text x=\"150\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"160\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{:.0}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{:.0}</text>",
            y + 15.0,
            run.load,
            ROW - 6.0,
            166.0 + width,
            y + 15.0,
            run.per_second
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The horizontal position of a percentile; each further nine takes the same width.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-6).log10()
}

/// One line for each run, both axes logarithmic.
fn percentiles(runs: &[RunReport]) -> String {
    let points = || runs.iter().flat_map(|run| &run.counts.distribution);
    let low = points().map(|(_, ms)| *ms).fold(f64::INFINITY, f64::min);
    let high = points().map(|(_, ms)| *ms).fold(0.0, f64::max);
    if !low.is_finite() || high <= 0.0 {
        return "<p>No request was answered.</p>\n".to_owned();
    }
    let (low, high) = (low.max(0.001).log10().floor(), high.log10().ceil());
    let high = if high > low { high } else { low + 1.0 };
    let right = points().map(|(p, _)| nines(*p)).fold(1.0, f64::max);
    let x = |percentile: f64| LEFT + nines(percentile) / right * (WIDTH - LEFT - 10.0);
    let share = |ms: f64| (ms.max(0.001).log10() - low) / (high - low);
    let y = |ms: f64| (HEIGHT - BOTTOM) - share(ms) * (HEIGHT - BOTTOM - 10.0);
    let mut svg = open(HEIGHT, "Latency in milliseconds by percentile");
    let mut decade = low;
    while decade <= high {
        let ms = 10f64.powf(decade);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\" class=\"grid\"/>\
             <text x=\"{1}\" y=\"{2:.1}\" text-anchor=\"end\">{ms} ms</text>",
            y(ms),
            LEFT - 8.0,
            y(ms) + 4.0
        );
        decade += 1.0;
    }
    for percentile in [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999] {
        if nines(percentile) <= right {
            let _ = writeln!(
                svg,
                "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"10\" y2=\"{1}\" class=\"grid\"/>\
                 <text x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\">p{percentile}</text>",
                x(percentile),
                HEIGHT - BOTTOM,
                HEIGHT - BOTTOM + 18.0
            );
        }
    }
    for (index, run) in runs.iter().enumerate() {
        let line: Vec<String> = run
            .counts
            .distribution
            .iter()
            .map(|(percentile, ms)| format!("{:.1},{:.1}", x(*percentile), y(*ms)))
            .collect();
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\">\
             <title>{}</title></polyline>",
            line.join(" "),
            run.load
        );
    }
    svg.push_str("</svg>\n<p>");
    for (index, run) in runs.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let _ = write!(
            svg,
            "<span class=\"key\"><span style=\"background:{colour}\"></span>{}</span> ",
            run.load
        );
    }
    svg.push_str("</p>\n");
    svg
}

fn table(report: &BenchReport) -> String {
    let mut table = "<table><thead><tr><th>load</th><th>requests/s</th><th>p50 ms</th><th>p90</th>\
         <th>p99</th><th>p99.9</th><th>max</th><th>failed</th><th>server us/request</th></tr>\
         </thead><tbody>\n"
        .to_owned();
    for run in &report.runs {
        let _ = write!(
            table,
            "<tr><td>{}</td><td>{:.1}</td>",
            run.load, run.per_second
        );
        match run.counts.latency_ms {
            Some(latency) => {
                for value in [
                    latency.p50,
                    latency.p90,
                    latency.p99,
                    latency.p99_9,
                    latency.max,
                ] {
                    let _ = write!(table, "<td>{value:.2}</td>");
                }
            }
            None => table.push_str(&"<td>-</td>".repeat(5)),
        }
        let server = run.processors.map_or("-".to_owned(), |usage| {
            format!("{:.0}", usage.server_micros_per_request)
        });
        let _ = writeln!(
            table,
            "<td>{}</td><td>{server}</td></tr>",
            run.counts.failures()
        );
    }
    table.push_str("</tbody></table>\n");
    table
}

fn open(height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{label}\">\n"
    )
}
