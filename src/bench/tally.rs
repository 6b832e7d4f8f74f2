//! Counts the requests of a run. There is one histogram for all, so that percentiles are those of the
//! requests, never means of percentiles.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::bench::client::HttpAnswer;
use crate::http_error::refusal_reason;

/// Number of digits of a latency that are kept.
const DIGITS: u8 = 3;

/// Number of different errors that are told apart; further ones are counted under one name.
const ERRORS_MAX: usize = 20;

/// Number of different models, cores or buckets that are told apart.
const PARTS_MAX: usize = 512;

/// The counters of a run.
#[derive(Debug)]
pub struct RunTally {
    latency: Histogram<u64>,
    statuses: BTreeMap<u16, u64>,
    reasons: BTreeMap<u16, String>,
    errors: BTreeMap<String, u64>,
    models: BTreeMap<String, Histogram<u64>>,
    cores: BTreeMap<String, Histogram<u64>>,
    buckets: BTreeMap<String, Histogram<u64>>,
    pub runtime: Option<String>,
}

/// Mean, percentiles and maximum of the latency in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

/// Requests of one model, one core or one bucket, with percentiles of their latency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartLatency {
    pub requests: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The counters as they are reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunCounts {
    /// Number of requests that were answered with a status of success.
    pub requests: u64,
    pub latency_ms: Option<Latency>,
    pub statuses: BTreeMap<u16, u64>,
    /// Reason of the first refusal, by status.
    pub reasons: BTreeMap<u16, String>,
    /// Number of requests without an answer, by what happened.
    pub errors: BTreeMap<String, u64>,
    pub models: BTreeMap<String, PartLatency>,
    pub cores: BTreeMap<String, PartLatency>,
    pub buckets: BTreeMap<String, PartLatency>,
    /// Percentiles and their latencies in milliseconds, for a chart.
    pub distribution: Vec<(f64, f64)>,
}

impl RunTally {
    pub fn new() -> Result<Self> {
        Ok(Self {
            latency: histogram()?,
            statuses: BTreeMap::new(),
            reasons: BTreeMap::new(),
            errors: BTreeMap::new(),
            models: BTreeMap::new(),
            cores: BTreeMap::new(),
            buckets: BTreeMap::new(),
            runtime: None,
        })
    }

    /// Counts an answer that came `latency` after the time of its request. Only successes enter the latency,
    /// since refusals are quick and would improve it.
    pub fn answered(&mut self, answer: HttpAnswer, latency: Duration) -> Result<()> {
        *self.statuses.entry(answer.status).or_insert(0) += 1;
        if !(200..300).contains(&answer.status) {
            if !self.reasons.contains_key(&answer.status)
                && let Some(reason) = answer.refusal.as_deref().and_then(refusal_reason)
            {
                self.reasons.insert(answer.status, reason);
            }
            return Ok(());
        }
        let micros = u64::try_from(latency.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        self.latency
            .record(micros)
            .context("a latency beyond all bounds")?;
        if self.runtime.is_none() {
            self.runtime = answer.runtime;
        }
        for (parts, name) in [
            (&mut self.models, answer.model),
            (&mut self.cores, answer.cores),
            (&mut self.buckets, answer.buckets),
        ] {
            let Some(name) = name else { continue };
            if !parts.contains_key(&name) {
                let name = if parts.len() < PARTS_MAX {
                    name
                } else {
                    "others".to_owned()
                };
                parts.entry(name).or_insert(histogram()?).record(micros)?;
            } else if let Some(part) = parts.get_mut(&name) {
                part.record(micros)?;
            }
        }
        Ok(())
    }

    /// Counts a request without an answer.
    pub fn failed(&mut self, why: &str) {
        let known = self.errors.contains_key(why) || self.errors.len() < ERRORS_MAX;
        let name = if known { why } else { "other errors" };
        *self.errors.entry(name.to_owned()).or_insert(0) += 1;
    }

    pub fn counts(&self) -> RunCounts {
        let parts = |of: &BTreeMap<String, Histogram<u64>>| {
            let part = |(name, histogram): (&String, &Histogram<u64>)| {
                let part = PartLatency {
                    requests: histogram.len(),
                    p50_ms: millis(histogram.value_at_quantile(0.5)),
                    p99_ms: millis(histogram.value_at_quantile(0.99)),
                };
                (name.clone(), part)
            };
            of.iter().map(part).collect()
        };
        RunCounts {
            requests: self.latency.len(),
            latency_ms: (!self.latency.is_empty()).then(|| self.latency()),
            statuses: self.statuses.clone(),
            reasons: self.reasons.clone(),
            errors: self.errors.clone(),
            models: parts(&self.models),
            cores: parts(&self.cores),
            buckets: parts(&self.buckets),
            distribution: self.distribution(),
        }
    }

    fn latency(&self) -> Latency {
        let at = |quantile| millis(self.latency.value_at_quantile(quantile));
        Latency {
            mean: self.latency.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: millis(self.latency.max()),
        }
    }

    fn distribution(&self) -> Vec<(f64, f64)> {
        if self.latency.is_empty() {
            return Vec::new();
        }
        let percentiles = [
            0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 97.5, 99.0, 99.5,
            99.75, 99.9, 99.95, 99.99, 99.999,
        ];
        let resolved = |percentile: &f64| {
            // Above a higher percentile there would be less than one request.
            (100.0 - percentile) / 100.0 * self.latency.len() as f64 >= 1.0
        };
        let at = |percentile: f64| {
            let value = self.latency.value_at_quantile(percentile / 100.0);
            (percentile, millis(value))
        };
        percentiles.into_iter().filter(resolved).map(at).collect()
    }

    /// The latency in milliseconds that the share `quantile` of requests does not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        millis(self.latency.value_at_quantile(quantile))
    }
}

impl RunCounts {
    /// Number of requests that were refused or not answered.
    pub fn failures(&self) -> u64 {
        let is_failure = |status: &u16| !(200..300).contains(status);
        let refused = self
            .statuses
            .iter()
            .filter(|(status, _)| is_failure(status));
        refused.map(|(_, count)| count).sum::<u64>() + self.errors.values().sum::<u64>()
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Histogram::new(DIGITS).context("making a histogram")
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, core: &str) -> HttpAnswer {
        HttpAnswer {
            status,
            cores: Some(core.to_owned()),
            ..HttpAnswer::default()
        }
    }

    #[test]
    fn percentiles_are_those_of_all_requests_and_parts_have_their_own() {
        let mut tally = RunTally::new().unwrap();
        for millis in 1..=1000 {
            let core = if millis <= 900 { "0" } else { "1" };
            let latency = Duration::from_millis(millis);
            tally.answered(answer(200, core), latency).unwrap();
        }
        let counts = tally.counts();
        let latency = counts.latency_ms.unwrap();
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert!(
            near(latency.p50, 500.0) && near(latency.p99, 990.0),
            "{latency:?}"
        );
        assert_eq!(
            (counts.cores["0"].requests, counts.cores["1"].requests),
            (900, 100)
        );
        assert!(near(counts.cores["1"].p50_ms, 950.0));
        assert_eq!(counts.failures(), 0);
    }

    #[test]
    fn refusals_and_errors_are_counted_and_have_no_latency() {
        let mut tally = RunTally::new().unwrap();
        tally
            .answered(answer(429, "0"), Duration::from_micros(5))
            .unwrap();
        for index in 0..100 {
            tally.failed(&format!("error {index}"));
        }
        let counts = tally.counts();
        assert_eq!((counts.requests, counts.failures()), (0, 101));
        assert_eq!(counts.latency_ms, None);
        assert_eq!(counts.errors.len(), ERRORS_MAX + 1);
    }
}
