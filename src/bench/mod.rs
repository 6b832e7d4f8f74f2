//! The benchmark: load on a server, and what it did under it.
//!
//! `load` sends requests made by `texts` over connections of `client` and `stream`; `tally` counts; `search` finds the
//! highest rate that keeps a promise; `processor` says what it cost; `text`, `table` and `html` show it.
//! Start with [`measure`].

pub mod child;
mod client;
pub mod html;
pub mod load;
mod processor;
pub mod search;
mod stream;
pub mod table;
mod tally;
pub mod target;
pub mod text;
pub mod texts;
mod timer;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::bench::load::{Load, Measured, Options, Until};
use crate::bench::processor::Usage;
use crate::bench::search::{Promise, Search};
use crate::bench::tally::{Counts, Tally};
use crate::bench::target::Target;

/// Raised when a key of [`Report`] changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A load generator that takes more of its one processor than this may be what is measured.
const CLIENT_SHARE_MAX: f64 = 0.9;

/// Runs number their texts from multiples of this, so that no two runs send the same one.
const TEXTS_APART: u64 = 1 << 40;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub schema_version: u32,
    pub url: String,
    /// `simulated` where no device computed.
    pub runtime: Option<String>,
    pub texts: String,
    pub seed: u64,
    pub runs: Vec<Run>,
    pub promise: Option<Promised>,
    /// The last run is shorter than it was to be, and there may be others that were not begun.
    pub interrupted: bool,
    /// What one should know before believing the numbers.
    pub notes: Vec<String>,
}

/// One load and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    pub load: Load,
    pub seconds: f64,
    pub per_second: f64,
    #[serde(flatten)]
    pub counts: Counts,
    /// Where the server is on this machine, and the run is long enough.
    pub processors: Option<Usage>,
    /// Whether the promise held, where there is one.
    pub held: Option<bool>,
}

/// A promise, and the highest rate at which it held.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Promised {
    #[serde(flatten)]
    pub promise: Promise,
    pub highest_rate: Option<f64>,
}

impl Report {
    /// Requests that were refused or not answered, in all runs that were not to find a limit.
    pub fn failures(&self) -> u64 {
        match self.promise {
            // Beyond its limit a server may refuse; that is what was looked for.
            Some(_) => 0,
            None => self.runs.iter().map(|run| run.counts.failures()).sum(),
        }
    }
}

/// Puts each of `loads` on `target`, one after another; `progress` is told of each that is done.
pub async fn measure(
    target: &Target,
    options: &Options,
    loads: &[Load],
    progress: &mut dyn FnMut(&Run),
) -> Result<Report> {
    let mut report = report(target, options);
    for load in loads {
        let Some((run, _)) = step(target, options, *load, &mut report).await? else {
            break;
        };
        progress(&run);
        report.runs.push(run);
    }
    Ok(finished(report, options))
}

/// Looks for the highest rate at which `promise` holds on `target`, from the rate `first`.
pub async fn search(
    target: &Target,
    options: &Options,
    (promise, first): (Promise, f64),
    progress: &mut dyn FnMut(&Run),
) -> Result<Report> {
    let mut report = report(target, options);
    let mut search = Search::from(first);
    while let Some(rate) = search.rate() {
        let load = Load::Rate(rate);
        let Some((mut run, tally)) = step(target, options, load, &mut report).await? else {
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
    // What was interrupted before any rate held does not say that none does.
    report.promise = (highest_rate.is_some() || !options.is_interrupted()).then_some(Promised {
        promise,
        highest_rate,
    });
    Ok(finished(report, options))
}

/// The next run; none where the benchmark is interrupted before anything of it is counted.
async fn step(
    target: &Target,
    options: &Options,
    load: Load,
    report: &mut Report,
) -> Result<Option<(Run, Tally)>> {
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

/// The process that listens there, where it is on this machine and ours to look into.
pub fn server_process(target: &Target) -> Option<u32> {
    processor::listener(target.way.address)
}

fn report(target: &Target, options: &Options) -> Report {
    Report {
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

fn summary(load: Load, measured: &Measured) -> Run {
    let counts = measured.tally.counts();
    let seconds = measured.elapsed.max(Duration::from_micros(1)).as_secs_f64();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let usage = measured.before.zip(measured.after);
    Run {
        load,
        seconds,
        per_second: counts.requests as f64 / seconds,
        processors: usage
            .and_then(|(before, after)| before.usage(&after, counts.requests, processors)),
        counts,
        held: None,
    }
}

fn finished(mut report: Report, options: &Options) -> Report {
    report.interrupted = options.is_interrupted();
    report.notes = notes(&report, options);
    report
}

fn notes(report: &Report, options: &Options) -> Vec<String> {
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
    if let (texts::Source::Lines(lines), Until::Requests(_) | Until::After(_)) =
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
