//! Which of the waiting rows run next, and in which bucket: a pure function of what waits.
//!
//! The row that has waited longest decides the sequence length; only rows of the same length class
//! join it, so that a long text never inflates a short one. The batch is the largest that what waits
//! can fill: rows of padding cost as much as rows of text.

use crate::bucket::{self, Bucket};

/// The rows that run together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) bucket: Bucket,
    /// Indexes into what waits, in ascending order; at least one.
    pub(super) members: Vec<usize>,
}

impl Batch {
    /// True when no row is missing and no bucket of this sequence holds more.
    pub(super) fn is_full(&self, buckets: &[Bucket]) -> bool {
        let same = buckets
            .iter()
            .filter(|bucket| bucket.sequence == self.bucket.sequence);
        same.map(|bucket| bucket.batch).max() == Some(self.members.len())
    }
}

/// Chooses from rows of so many `tokens`, the longest waiting first. `None` when none of them fits a
/// bucket, which admission excludes.
pub(super) fn choose(buckets: &[Bucket], tokens: &[usize]) -> Option<Batch> {
    let sequence = bucket::smallest(buckets, 1, *tokens.first()?)?.sequence;
    let same_class = |tokens: usize| {
        bucket::smallest(buckets, 1, tokens).map(|fit| fit.sequence) == Some(sequence)
    };
    let mut members: Vec<usize> = (0..tokens.len())
        .filter(|index| same_class(tokens[*index]))
        .collect();
    let batches = || {
        let of_sequence = buckets.iter().filter(|bucket| bucket.sequence == sequence);
        of_sequence.map(|bucket| bucket.batch)
    };
    let filled = batches().filter(|batch| *batch <= members.len()).max();
    let batch = filled.or_else(|| batches().min())?;
    members.truncate(batch);
    Some(Batch {
        bucket: Bucket { sequence, batch },
        members,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(batches: &[usize], sequences: &[usize]) -> Vec<Bucket> {
        let of = |&sequence| batches.iter().map(move |&batch| Bucket { sequence, batch });
        sequences.iter().flat_map(of).collect()
    }

    #[test]
    fn a_single_row_runs_at_once_in_its_smallest_bucket() {
        let batch = choose(&grid(&[1, 8], &[32, 128]), &[40]).unwrap();
        assert_eq!(
            (batch.bucket.to_string().as_str(), batch.members),
            ("1x128", vec![0])
        );
    }

    #[test]
    fn rows_of_another_length_class_wait_for_their_own_batch() {
        let batch = choose(&grid(&[1, 2], &[32, 128]), &[10, 100, 12]).unwrap();
        assert_eq!(
            (batch.bucket.to_string().as_str(), batch.members),
            ("2x32", vec![0, 2])
        );
    }

    #[test]
    fn a_batch_that_cannot_be_filled_is_not_padded_up_to() {
        let batch = choose(&grid(&[1, 8], &[32]), &[5; 7]).unwrap();
        assert_eq!((batch.bucket.batch, batch.members), (1, vec![0]));
    }

    #[test]
    fn a_model_with_large_batches_only_is_padded() {
        let batch = choose(&grid(&[4, 8], &[32]), &[5; 3]).unwrap();
        assert_eq!((batch.bucket.batch, batch.members), (4, vec![0, 1, 2]));
    }

    proptest! {
        #[test]
        fn the_longest_waiting_row_always_runs_and_every_member_fits(
            batches in proptest::collection::vec(1usize..9, 1..4),
            sequences in proptest::collection::vec(1usize..100, 1..4),
            tokens in proptest::collection::vec(1usize..100, 1..40),
        ) {
            let buckets = grid(&batches, &sequences);
            let longest = *sequences.iter().max().unwrap();
            match choose(&buckets, &tokens) {
                None => prop_assert!(tokens[0] > longest),
                Some(batch) => {
                    prop_assert!(buckets.contains(&batch.bucket));
                    prop_assert_eq!(batch.members[0], 0);
                    prop_assert!(batch.members.len() <= batch.bucket.batch);
                    prop_assert!(batch.members.iter().all(|index| tokens[*index] <= batch.bucket.sequence));
                }
            }
        }
    }
}
