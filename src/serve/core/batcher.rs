//! Which of the waiting rows run next, and in which bucket: a pure function of what waits, the buckets
//! and the clock.
//!
//! The row whose deadline is nearest decides the sequence length; only rows of the same length class
//! join it, so that a long text never inflates a short one. The batch is the largest that what waits
//! can fill: rows of padding cost as much as rows of text.

use std::time::Instant;

use crate::bucket::{self, Bucket};

/// A row that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitingRow {
    pub(crate) tokens: usize,
    pub(crate) deadline: Instant,
    /// It may spoil a batch, and runs alone.
    pub(crate) is_suspect: bool,
}

/// The rows that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchChoice {
    pub(crate) bucket: Bucket,
    /// Indexes into what waits, in ascending order; at least one.
    pub(crate) members: Vec<usize>,
}

impl BatchChoice {
    /// True when no row is missing and no bucket of this sequence holds more.
    pub(crate) fn is_full(&self, buckets: &[Bucket]) -> bool {
        let same = buckets
            .iter()
            .filter(|bucket| bucket.sequence == self.bucket.sequence);
        same.map(|bucket| bucket.batch).max() == Some(self.members.len())
    }
}

/// Chooses from rows in the order of their arrival; of equal deadlines the first counts as nearer. `None`
/// when none of them can still be answered in time and fits a bucket, which admission sees to.
pub(crate) fn choose(
    buckets: &[Bucket],
    waiting: &[WaitingRow],
    now: Instant,
) -> Option<BatchChoice> {
    let class = |row: &WaitingRow| bucket::smallest(buckets, 1, row.tokens).map(|fit| fit.sequence);
    let in_time = |index: &usize| waiting[*index].deadline > now;
    let due = |index: &usize| waiting[*index].deadline;
    let first = (0..waiting.len()).filter(in_time).min_by_key(due)?;
    let sequence = class(&waiting[first])?;
    let mut members = match waiting[first].is_suspect {
        true => vec![first],
        false => {
            let joins = |index: &usize| {
                !waiting[*index].is_suspect && class(&waiting[*index]) == Some(sequence)
            };
            let mut members: Vec<usize> = (0..waiting.len()).filter(in_time).collect();
            members.retain(joins);
            members
        }
    };
    let batches = || {
        let of_sequence = buckets.iter().filter(|bucket| bucket.sequence == sequence);
        of_sequence.map(|bucket| bucket.batch)
    };
    let filled = batches().filter(|batch| *batch <= members.len()).max();
    let batch = filled.or_else(|| batches().min())?;
    if members.len() > batch {
        members.sort_by_key(due);
        members.truncate(batch);
        members.sort_unstable();
    }
    Some(BatchChoice {
        bucket: Bucket { sequence, batch },
        members,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn grid(batches: &[usize], sequences: &[usize]) -> Vec<Bucket> {
        let of = |&sequence| batches.iter().map(move |&batch| Bucket { sequence, batch });
        sequences.iter().flat_map(of).collect()
    }

    /// Rows of so many tokens and so many milliseconds.
    fn rows(now: Instant, rows: &[(usize, u64)]) -> Vec<WaitingRow> {
        let row = |(tokens, millis): &(usize, u64)| WaitingRow {
            tokens: *tokens,
            deadline: now + Duration::from_millis(*millis),
            is_suspect: false,
        };
        rows.iter().map(row).collect()
    }

    /// The bucket and the members of what is chosen from rows of these tokens, which all have time.
    fn chosen(buckets: &[Bucket], tokens: &[usize]) -> (String, Vec<usize>) {
        let now = Instant::now();
        let all: Vec<(usize, u64)> = tokens.iter().map(|tokens| (*tokens, 1000)).collect();
        let batch = choose(buckets, &rows(now, &all), now).unwrap();
        (batch.bucket.to_string(), batch.members)
    }

    #[test]
    fn a_single_row_runs_at_once_in_its_smallest_bucket() {
        let found = chosen(&grid(&[1, 8], &[32, 128]), &[40]);
        assert_eq!(found, ("1x128".to_owned(), vec![0]));
    }

    #[test]
    fn rows_of_another_length_class_wait_for_their_own_batch() {
        let found = chosen(&grid(&[1, 2], &[32, 128]), &[10, 100, 12]);
        assert_eq!(found, ("2x32".to_owned(), vec![0, 2]));
    }

    #[test]
    fn a_batch_that_cannot_be_filled_is_not_padded_up_to() {
        let found = chosen(&grid(&[1, 8], &[32]), &[5; 7]);
        assert_eq!(found, ("1x32".to_owned(), vec![0]));
    }

    #[test]
    fn a_model_with_large_batches_only_is_padded() {
        let found = chosen(&grid(&[4, 8], &[32]), &[5; 3]);
        assert_eq!(found, ("4x32".to_owned(), vec![0, 1, 2]));
    }

    #[test]
    fn the_nearest_deadlines_go_first_and_what_is_overdue_not_at_all() {
        let now = Instant::now();
        let waiting = rows(now, &[(9, 0), (9, 900), (9, 200), (40, 300), (9, 100)]);
        let batch = choose(&grid(&[2], &[32, 64]), &waiting, now).unwrap();
        assert_eq!(batch.members, [2, 4]);
        let later = now + Duration::from_millis(250);
        let batch = choose(&grid(&[2], &[32, 64]), &waiting, later).unwrap();
        assert_eq!(
            (batch.bucket.sequence, batch.members),
            (64, vec![3]),
            "the long row is nearest now"
        );
        assert!(choose(&grid(&[2], &[32]), &waiting, now + Duration::from_secs(1)).is_none());
    }

    #[test]
    fn a_suspect_runs_alone() {
        let now = Instant::now();
        let mut waiting = rows(now, &[(5, 100), (5, 200), (5, 300)]);
        waiting[0].is_suspect = true;
        let buckets = grid(&[1, 2], &[32]);
        let batch = choose(&buckets, &waiting, now).unwrap();
        assert_eq!((batch.bucket.batch, batch.members), (1, vec![0]));
        waiting[0].deadline = now + Duration::from_millis(900);
        let batch = choose(&buckets, &waiting, now).unwrap();
        assert_eq!(batch.members, [1, 2]);
    }

    /// What a simulated load came to.
    struct Outcome {
        answered: usize,
        waits: Vec<Duration>,
        ends: Duration,
    }

    /// Cores on a clock of their own serve rows that arrive every `gap`; a batch takes longer with every
    /// token of its bucket, padding or not.
    fn simulate(cores: usize, gap: Duration, tokens: &[usize], buckets: &[Bucket]) -> Outcome {
        let start = Instant::now();
        let service = |bucket: Bucket| {
            Duration::from_micros(400 + 2 * (bucket.batch * bucket.sequence) as u64)
        };
        let arrival = |index: usize| start + gap * index as u32;
        let mut free = vec![start; cores];
        let mut waiting: Vec<usize> = Vec::new();
        let mut next = 0;
        let mut waits = Vec::new();
        while next < tokens.len() || !waiting.is_empty() {
            let core = (0..cores).min_by_key(|core| free[*core]).unwrap();
            let mut now = free[core];
            if waiting.is_empty() {
                now = now.max(arrival(next));
            }
            while next < tokens.len() && arrival(next) <= now {
                waiting.push(next);
                next += 1;
            }
            let rows: Vec<WaitingRow> = waiting
                .iter()
                .map(|row| WaitingRow {
                    tokens: tokens[*row],
                    deadline: arrival(*row) + Duration::from_secs(60),
                    is_suspect: false,
                })
                .collect();
            let batch = choose(buckets, &rows, now).unwrap();
            for member in batch.members.iter().rev() {
                let row = waiting.remove(*member);
                waits.push(now - arrival(row));
            }
            free[core] = now + service(batch.bucket);
        }
        Outcome {
            answered: waits.len(),
            ends: *free.iter().max().unwrap() - start,
            waits,
        }
    }

    /// Lengths between 1 and 128 that look random and are always the same.
    fn lengths(count: usize) -> Vec<usize> {
        (0..count).map(|index| 1 + index * 7919 % 128).collect()
    }

    #[test]
    fn in_a_simulation_every_row_is_answered_once_and_light_load_never_waits() {
        let buckets = grid(&[1, 4, 8], &[32, 64, 128]);
        let light = simulate(2, Duration::from_millis(2), &lengths(2000), &buckets);
        assert_eq!(light.answered, 2000);
        assert_eq!(light.waits.iter().max(), Some(&Duration::ZERO));
    }

    #[test]
    fn in_a_simulation_overload_fills_the_batches() {
        let buckets = grid(&[1, 4, 8], &[32, 64, 128]);
        let tokens = lengths(4000);
        let heavy = simulate(2, Duration::from_micros(10), &tokens, &buckets);
        // If every batch were full: a quarter of the rows in 8x32, a quarter in 8x64, half in 8x128.
        let service = |sequence: u64| 400 + 2 * 8 * sequence;
        let full = (service(32) + service(64) + 2 * service(128)) * (4000 / 4 / 8) / 2;
        let share = full as f64 / heavy.ends.as_micros() as f64;
        assert!(share > 0.97, "{share}");
        assert_eq!(heavy.answered, 4000);
    }

    #[test]
    fn in_a_simulation_nobody_starves_behind_another_length() {
        let buckets = grid(&[1, 8], &[32, 128]);
        // One long row among many short ones, at nearly all that one core can do.
        let tokens: Vec<usize> = (0..3000)
            .map(|i| if i % 50 == 7 { 100 } else { 20 })
            .collect();
        let found = simulate(1, Duration::from_micros(170), &tokens, &buckets);
        let longest = found.waits.iter().max().unwrap();
        assert!(*longest < Duration::from_millis(20), "{longest:?}");
    }

    proptest! {
        #[test]
        fn the_nearest_deadline_always_runs_and_every_member_fits(
            batches in proptest::collection::vec(1usize..9, 1..4),
            sequences in proptest::collection::vec(1usize..100, 1..4),
            given in proptest::collection::vec((1usize..100, 1u64..50), 1..40),
        ) {
            let now = Instant::now();
            let buckets = grid(&batches, &sequences);
            let longest = *sequences.iter().max().unwrap();
            let nearest = (0..given.len()).min_by_key(|index| given[*index].1).unwrap();
            match choose(&buckets, &rows(now, &given), now) {
                None => prop_assert!(given[nearest].0 > longest),
                Some(batch) => {
                    prop_assert!(buckets.contains(&batch.bucket));
                    prop_assert!(batch.members.contains(&nearest));
                    prop_assert!(batch.members.is_sorted());
                    prop_assert!(batch.members.len() <= batch.bucket.batch);
                    prop_assert!(batch.members.iter().all(|index| given[*index].0 <= batch.bucket.sequence));
                }
            }
        }
    }
}
