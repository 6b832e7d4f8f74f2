//! A benchmark as CSV, with one line for each run.

use std::fmt::Write as _;

use crate::bench::BenchReport;
use crate::bench::load::LoadPattern;

/// The report as CSV; the first line has the names of the columns.
pub fn csv(report: &BenchReport) -> String {
    let mut text = "concurrency,rate,seconds,requests,per_second,mean_ms,p50_ms,p90_ms,p99_ms,\
                    p99_9_ms,max_ms,failed,server_us_per_request,client_us_per_request,held\n"
        .to_owned();
    for run in &report.runs {
        let (clients, rate) = match run.load {
            LoadPattern::Concurrency(clients) => (clients.to_string(), String::new()),
            LoadPattern::Rate(rate) => (String::new(), format!("{rate:.3}")),
        };
        let counts = &run.counts;
        let _ = write!(
            text,
            "{clients},{rate},{:.3},{},{:.3}",
            run.seconds, counts.requests, run.per_second
        );
        match counts.latency_ms {
            Some(l) => {
                for value in [l.mean, l.p50, l.p90, l.p99, l.p99_9, l.max] {
                    let _ = write!(text, ",{value:.3}");
                }
            }
            None => text.push_str(",,,,,,"),
        }
        let _ = write!(text, ",{}", counts.failures());
        match run.processors {
            Some(usage) => {
                let (server, client) = (
                    usage.server_micros_per_request,
                    usage.client_micros_per_request,
                );
                let _ = write!(text, ",{server:.1},{client:.1}");
            }
            None => text.push_str(",,"),
        }
        let held = run.held.map_or(String::new(), |held| held.to_string());
        let _ = writeln!(text, ",{held}");
    }
    text
}
