//! Searches for the highest rate at which a promise about latency holds.
//!
//! The rate is doubled until the promise is broken, then the gap between the last rate that held and the
//! first that did not is halved until it is narrow. Each step is an open loop of its own, after a warm-up.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::bench::tally::RunTally;
use crate::failure::Failure;

/// The gap at which the search ends, as a share of the rate.
const GAP: f64 = 0.03;

/// Share of the run by which the last answer may come after the end, or the promised time if that is more.
/// An even later answer shows that a queue grew.
const BEHIND: f64 = 0.03;

/// Largest number of rates that are tried.
const STEPS_MAX: usize = 24;

/// The search gives up when the promise was broken this number of times in a row from the start.
const BROKEN_MAX: usize = 6;

/// A promise about latency: a percentile that stays within a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Promise {
    pub percentile: f64,
    pub limit_ms: f64,
}

impl FromStr for Promise {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let parsed = || {
            let (percentile, limit) = text.split_once('=')?;
            let percentile: f64 = percentile.strip_prefix('p')?.parse().ok()?;
            let number = limit.trim_end_matches(char::is_alphabetic);
            let unit = match &limit[number.len()..] {
                "ms" => 1.0,
                "s" => 1000.0,
                _ => return None,
            };
            let limit_ms = number.parse::<f64>().ok()? * unit;
            let is_sound = (0.0..100.0).contains(&percentile) && limit_ms > 0.0;
            (is_sound && limit_ms.is_finite()).then_some(Self {
                percentile,
                limit_ms,
            })
        };
        parsed().ok_or_else(|| {
            Failure::usage(format!("`{text}` is not a promise about latency"))
                .help("write a percentile and a time, such as p99=20ms or p50=0.1s")
        })
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} within {} ms", self.percentile, self.limit_ms)
    }
}

impl Promise {
    /// True when the promise held in a run of `seconds`; `planned` is the length that it was to have, where
    /// that was known.
    pub fn holds(&self, tally: &RunTally, planned: Option<f64>, seconds: f64) -> bool {
        let may_be_behind = |planned: f64| (planned * BEHIND).max(self.limit_ms / 1000.0);
        let kept_up = planned.is_none_or(|planned| seconds - planned <= may_be_behind(planned));
        let counts = tally.counts();
        counts.requests > 0
            && counts.failures() == 0
            && kept_up
            && tally.quantile_ms(self.percentile / 100.0) <= self.limit_ms
    }
}

/// The state of a search: the rates at which the promise held and broke, and the next rate.
#[derive(Debug, Clone, PartialEq)]
pub struct RateSearch {
    held: Option<f64>,
    broke: Option<f64>,
    next: f64,
    steps: usize,
}

impl RateSearch {
    pub fn from(rate: f64) -> Self {
        Self {
            held: None,
            broke: None,
            next: rate,
            steps: 0,
        }
    }

    /// The next rate to try; `None` when the search is over.
    pub fn rate(&self) -> Option<f64> {
        let is_narrow = match (self.held, self.broke) {
            (Some(held), Some(broke)) => broke - held <= GAP * held,
            _ => false,
        };
        let is_hopeless = self.held.is_none() && self.steps >= BROKEN_MAX;
        (!is_narrow && !is_hopeless && self.steps < STEPS_MAX).then_some(self.next)
    }

    /// Takes the result at the rate of [`Self::rate`].
    pub fn tried(&mut self, holds: bool) {
        self.steps += 1;
        if holds {
            self.held = Some(self.next);
        } else {
            self.broke = Some(self.next);
        }
        self.next = match (self.held, self.broke) {
            (Some(held), Some(broke)) => f64::midpoint(held, broke),
            (Some(held), None) => held * 2.0,
            (None, _) => self.next / 2.0,
        };
    }

    /// The highest rate at which the promise held.
    pub fn highest(&self) -> Option<f64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn promises_are_read_with_their_units() {
        let promise: Promise = "p99.9=0.5s".parse().unwrap();
        assert_eq!((promise.percentile, promise.limit_ms), (99.9, 500.0));
        assert_eq!(promise.to_string(), "p99.9 within 500 ms");
        for wrong in [
            "", "p99", "99=1ms", "p99=20", "p100=1ms", "p-1=1ms", "p99=0ms", "p9=1h",
        ] {
            assert!(wrong.parse::<Promise>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn the_highest_rate_that_holds_is_found_from_anywhere_near(
            start in 1.0f64..10_000.0, factor in 0.04f64..1_000.0,
        ) {
            let limit = start * factor;
            let mut search = RateSearch::from(start);
            while let Some(rate) = search.rate() {
                search.tried(rate <= limit);
            }
            let found = search.highest().unwrap();
            prop_assert!(found <= limit && found >= limit / (1.0 + GAP) / (1.0 + GAP), "{found} of {limit}");
        }
    }

    #[test]
    fn a_promise_that_never_holds_ends_the_search() {
        let mut search = RateSearch::from(100.0);
        while search.rate().is_some() {
            search.tried(false);
        }
        assert_eq!(search.highest(), None);
    }
}
