//! The benchmark: puts load on a server and measures rate, latency and processor time.
//!
//! `load` sends requests made by `texts` over connections of `client` and `stream`; `tally` counts; `search` finds the
//! highest rate that keeps a promise; `processor` measures the cost; `report_text`, `report_csv` and `report_html`
//! write the result. Start with [`measure`].

pub mod child;
mod client;
pub mod load;
mod processor;
pub mod report_csv;
pub mod report_html;
pub mod report_text;
pub mod search;
mod stream;
mod tally;
pub mod target;
pub mod texts;
mod timer;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::bench::load::{BenchOptions, LoadPattern, RunMeasurement, Until};
use crate::bench::processor::ProcessorUsage;
use crate::bench::search::{Promise, RateSearch};
use crate::bench::tally::{RunCounts, RunTally};
use crate::bench::target::BenchTarget;

/// Raised when a key of [`Report`] changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// Share of its one processor above which the load generator itself may limit the result.
const CLIENT_SHARE_MAX: f64 = 0.9;

/// Each run numbers its texts from another multiple of this, so that no two runs send the same text.
const TEXTS_APART: u64 = 1 << 40;

/// The result of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchReport {
    pub schema_version: u32,
    pub url: String,
    /// `simulated` where no device computed.
    pub runtime: Option<String>,
    pub texts: String,
    pub seed: u64,
    pub runs: Vec<RunReport>,
    pub promise: Option<PromiseResult>,
    /// True when the last run is cut short and further ones may be missing.
    pub interrupted: bool,
    /// Remarks that a reader should know before believing the numbers.
    pub notes: Vec<String>,
}

/// The result of one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    pub load: LoadPattern,
    pub seconds: f64,
    pub per_second: f64,
    #[serde(flatten)]
    pub counts: RunCounts,
    /// Present where the server is on this machine and the run is long enough.
    pub processors: Option<ProcessorUsage>,
    /// True when the promise held; absent where there is none.
    pub held: Option<bool>,
}

/// A promise, and the highest rate at which it held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PromiseResult {
    #[serde(flatten)]
    pub promise: Promise,
    pub highest_rate: Option<f64>,
}

impl BenchReport {
    /// Number of requests that were refused or not answered; 0 for a search, which looks for the limit.
    pub fn failures(&self) -> u64 {
        match self.promise {
            // Beyond its limit a server may refuse.
            Some(_) => 0,
            None => self.runs.iter().map(|run| run.counts.failures()).sum(),
        }
    }
}

/// Puts each of `loads` on `target`, one after another; `progress` gets the result of each.
pub async fn measure(
    target: &BenchTarget,
    options: &BenchOptions,
    loads: &[LoadPattern],
    progress: &mut dyn FnMut(&RunReport),
) -> Result<BenchReport> {
    let mut report = report(target, options);
    for load in loads {
        let Some((run, _)) = next_run(target, options, *load, &mut report).await? else {
            break;
        };
        progress(&run);
        report.runs.push(run);
    }
    Ok(finished(report, options))
}

/// Searches for the highest rate at which `promise` holds on `target`, beginning with the rate `first`.
pub async fn search(
    target: &BenchTarget,
    options: &BenchOptions,
    (promise, first): (Promise, f64),
    progress: &mut dyn FnMut(&RunReport),
) -> Result<BenchReport> {
    let mut report = report(target, options);
    let mut search = RateSearch::from(first);
    while let Some(rate) = search.rate() {
        let load = LoadPattern::Rate(rate);
        let Some((mut run, tally)) = next_run(target, options, load, &mut report).await? else {
            break;
        };
        if !options.is_interrupted() {
            let planned = match options.until {
                Until::After(duration) => Some(duration.as_secs_f64()),
                Until::Requests(_) => None,
            };
            let holds = promise.holds(&tally, planned, run.seconds);
            run.held = Some(holds);
            search.tried(holds);
        }
        progress(&run);
        report.runs.push(run);
    }
    let highest_rate = search.highest();
    // An interrupted search in which no rate held yet does not prove that none does.
    report.promise =
        (highest_rate.is_some() || !options.is_interrupted()).then_some(PromiseResult {
            promise,
            highest_rate,
        });
    Ok(finished(report, options))
}

/// Performs the next run; `None` where the benchmark is interrupted before anything of it is counted.
async fn next_run(
    target: &BenchTarget,
    options: &BenchOptions,
    load: LoadPattern,
    report: &mut BenchReport,
) -> Result<Option<(RunReport, RunTally)>> {
    if options.is_interrupted() {
        return Ok(None);
    }
    let first = report.runs.len() as u64 * TEXTS_APART;
    let measured = load::run(target, options, load, first).await?;
    let run = summary(load, &measured);
    if options.is_interrupted() && run.counts.requests + run.counts.failures() == 0 {
        return Ok(None);
    }
    report.runtime = measured.tally.runtime.clone();
    Ok(Some((run, measured.tally)))
}

/// Id of the process that listens at the target, where it is on this machine and may be examined.
pub fn server_process(target: &BenchTarget) -> Option<u32> {
    processor::listener(target.address.socket)
}

fn report(target: &BenchTarget, options: &BenchOptions) -> BenchReport {
    BenchReport {
        schema_version: SCHEMA_VERSION,
        url: target.url(),
        runtime: None,
        texts: options.source.to_string(),
        seed: options.seed,
        runs: Vec::new(),
        promise: None,
        interrupted: false,
        notes: Vec::new(),
    }
}

fn summary(load: LoadPattern, measured: &RunMeasurement) -> RunReport {
    let counts = measured.tally.counts();
    let seconds = measured.elapsed.max(Duration::from_micros(1)).as_secs_f64();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let usage = measured.before.zip(measured.after);
    RunReport {
        load,
        seconds,
        per_second: counts.requests as f64 / seconds,
        processors: usage
            .and_then(|(before, after)| before.usage(&after, counts.requests, processors)),
        counts,
        held: None,
    }
}

fn finished(mut report: BenchReport, options: &BenchOptions) -> BenchReport {
    report.interrupted = options.is_interrupted();
    report.notes = notes(&report, options);
    report
}

fn notes(report: &BenchReport, options: &BenchOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if report.interrupted {
        notes.push("interrupted: what was to follow was not measured".to_owned());
    }
    if report.runtime.is_some() {
        notes.push(
            "the device is simulated: nothing was computed, and the answers mean nothing"
                .to_owned(),
        );
    }
    let usages = report.runs.iter().filter_map(|run| run.processors);
    let busiest = usages.clone().map(|usage| usage.client).fold(0.0, f64::max);
    if busiest > CLIENT_SHARE_MAX {
        notes.push(format!(
            "the load generator took {busiest:.2} of its one processor: a faster one might find more"
        ));
    }
    let others = usages.map(|usage| usage.others).fold(0.0, f64::max);
    if others > 0.2 {
        notes.push(format!(
            "other programs took up to {others:.1} processors of this machine meanwhile"
        ));
    }
    if let (texts::TextSource::Lines(lines), Until::Requests(_) | Until::After(_)) =
        (&options.source, options.until)
    {
        let most = report.runs.iter().map(|run| run.counts.requests).max();
        if most.unwrap_or(0) > lines.len() as u64 {
            notes.push(format!(
                "the file's {} texts were sent more than once",
                lines.len()
            ));
        }
    }
    notes
}
