//! What each model has done since the server started, as Triton's statistics extension counts it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::core::job::RowOutput;

/// The counts of one model.
#[derive(Debug, Default)]
pub(crate) struct InferenceStatistics {
    counts: Mutex<InferenceCounts>,
}

/// So many requests or batches, and the time of all of them.
#[derive(Debug, Clone, Copy, Default, Serialize, JsonSchema)]
#[schemars(rename = "Duty")]
pub(crate) struct CountAndTime {
    count: u64,
    ns: u64,
}

impl CountAndTime {
    fn add(&mut self, time: Duration) {
        self.count += 1;
        self.ns = self.ns.saturating_add(nanoseconds(time));
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct InferenceCounts {
    /// Milliseconds since 1970; 0 before the first one.
    pub(crate) last_inference: u64,
    /// Rows.
    pub(crate) inference_count: u64,
    /// Batches.
    pub(crate) execution_count: u64,
    pub(crate) inference_stats: InferenceTimes,
    /// The runs of each batch size.
    pub(crate) batches: BTreeMap<usize, CountAndTime>,
}

/// Requests, by what they went through.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[schemars(rename = "Duties")]
pub(crate) struct InferenceTimes {
    success: CountAndTime,
    fail: CountAndTime,
    queue: CountAndTime,
    /// Reading and tokenizing.
    compute_input: CountAndTime,
    compute_infer: CountAndTime,
}

/// The parts of the time of a request; of several rows, those of the one that was done last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestTimes {
    pub(crate) preparing: Duration,
    pub(crate) waiting: Duration,
    pub(crate) running: Duration,
}

impl InferenceStatistics {
    /// A request whose rows ran; `took` is the time of all of it.
    pub(crate) fn succeeded(&self, took: Duration, times: &RequestTimes, rows: &[RowOutput]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut counts = self.lock();
        counts.last_inference = now.map_or(0, |now| nanoseconds(now) / 1_000_000);
        counts.inference_count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let duties = &mut counts.inference_stats;
        duties.success.add(took);
        duties.queue.add(times.waiting);
        duties.compute_input.add(times.preparing);
        duties.compute_infer.add(times.running);
        for row in rows.iter().filter(|row| row.timing.leads) {
            counts.execution_count += 1;
            let runs = counts.batches.entry(row.bucket.batch).or_default();
            runs.add(row.timing.ran);
        }
    }

    pub(crate) fn failed(&self, took: Duration) {
        self.lock().inference_stats.fail.add(took);
    }

    pub(crate) fn counts(&self) -> InferenceCounts {
        self.lock().clone()
    }

    /// Only numbers are changed while it is held.
    fn lock(&self) -> MutexGuard<'_, InferenceCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
