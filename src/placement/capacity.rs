//! What a placement can be expected to answer, from published times.

use serde::Serialize;

use crate::bucket::Bucket;
use crate::placement::Placement;
use crate::placement::model::Model;
use crate::timings::Timings;

/// What is expected of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Capacity {
    pub model: String,
    /// Whose times it takes.
    pub timings: String,
    pub copies: usize,
    /// Copies that share their core with other models: they reach their rate while those rest.
    pub copies_that_share: usize,
    /// For each length of its buckets, shortest first.
    pub lengths: Vec<Length>,
}

/// What is expected of rows that run in buckets of one length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Length {
    pub sequence: usize,
    /// The batch with which a core is fastest.
    pub batch: usize,
    /// Rows a second, with every core busy and every batch full.
    pub per_core: f64,
    pub total: f64,
    /// The time of one row on an idle core, without the network and the host.
    pub lowest_ms: f64,
    /// The time of a batch with which a core is fastest.
    pub batch_ms: f64,
    /// One of these times follows from measurements of other shapes.
    pub assumed: bool,
}

/// What to expect of each model of `placement`, whose `buckets` and `timings` are in the same order.
pub fn capacity(
    placement: &Placement,
    buckets: &[Vec<Bucket>],
    timings: &[Timings],
) -> Vec<Capacity> {
    let models = placement.models.iter().zip(buckets).zip(timings);
    let of = |(index, ((model, buckets), timings)): (usize, ((&Model, &Vec<Bucket>), &Timings))| {
        let copies = placement.copies(index);
        let workers = placement.workers.iter();
        let sharing =
            workers.filter(|worker| worker.models.contains(&index) && worker.models.len() > 1);
        Capacity {
            model: model.name.clone(),
            timings: timings.name.clone(),
            copies,
            copies_that_share: sharing.count(),
            lengths: lengths(buckets, timings, copies),
        }
    };
    models.enumerate().map(of).collect()
}

fn lengths(buckets: &[Bucket], timings: &Timings, copies: usize) -> Vec<Length> {
    let mut sequences: Vec<usize> = buckets.iter().map(|bucket| bucket.sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    let of = |sequence: usize| {
        let same = || buckets.iter().filter(move |b| b.sequence == sequence);
        let rate = |bucket: &Bucket| {
            bucket.batch as f64 / timings.model.service(*bucket).duration.as_secs_f64()
        };
        let best = same().max_by(|a, b| rate(a).total_cmp(&rate(b)))?;
        let smallest = same().min_by_key(|bucket| bucket.batch)?;
        let (full, lowest) = (
            timings.model.service(*best),
            timings.model.service(*smallest),
        );
        let per_core = rate(best);
        Some(Length {
            sequence,
            batch: best.batch,
            per_core,
            total: per_core * copies as f64,
            lowest_ms: lowest.duration.as_secs_f64() * 1000.0,
            batch_ms: full.duration.as_secs_f64() * 1000.0,
            assumed: full.assumed || lowest.assumed,
        })
    };
    sequences.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_rate_comes_back() {
        let bert = Timings::load("inf2/bert-base-uncased").unwrap();
        let buckets =
            [(1, 128), (8, 128), (1, 32)].map(|(batch, sequence)| Bucket { sequence, batch });
        let lengths = lengths(&buckets, &bert, 2);
        assert_eq!(lengths.len(), 2);
        let long = lengths[1];
        assert!((long.total - 2674.189).abs() < 0.01, "{long:?}");
        assert_eq!((long.batch, long.assumed), (8, false));
        assert!((long.lowest_ms - 1.0009).abs() < 0.001);
        assert!(lengths[0].assumed && lengths[0].lowest_ms < long.lowest_ms);
    }
}
