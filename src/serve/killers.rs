//! Rows that ended the workers that ran them. Such a row is remembered for a while, by its hash, so that
//! sending it again does not cost another worker.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::bucket::Row;
use crate::serve::models::ModelId;

/// For so long a row is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// No more rows are remembered; the oldest are forgotten first.
const ROWS_MAX: usize = 4096;

/// The rows that are refused.
#[derive(Debug, Default)]
pub(super) struct Killers {
    hasher: RandomState,
    /// Until when each is refused.
    until: HashMap<u64, Instant>,
}

impl Killers {
    pub(super) fn add(&mut self, model: ModelId, row: &Row, now: Instant) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= ROWS_MAX {
            let oldest = self.until.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.until.remove(&oldest);
            }
        }
        self.until.insert(self.hash(model, row), now + REMEMBERED);
    }

    pub(super) fn contain(&self, model: ModelId, row: &Row, now: Instant) -> bool {
        // Nearly always there is nothing to compare with.
        if self.until.is_empty() {
            return false;
        }
        let until = self.until.get(&self.hash(model, row));
        until.is_some_and(|until| *until > now)
    }

    fn hash(&self, model: ModelId, row: &Row) -> u64 {
        self.hasher
            .hash_one((model, &row.ids, &row.type_ids, row.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64) -> Row {
        Row {
            ids: vec![id],
            type_ids: vec![0],
            position: None,
        }
    }

    #[test]
    fn a_row_is_refused_for_its_model_and_for_a_while() {
        let mut killers = Killers::default();
        let (now, model) = (Instant::now(), ModelId::next());
        assert!(!killers.contain(model, &row(1), now));
        killers.add(model, &row(1), now);
        assert!(killers.contain(model, &row(1), now));
        assert!(!killers.contain(model, &row(2), now));
        assert!(!killers.contain(ModelId::next(), &row(1), now));
        assert!(!killers.contain(model, &row(1), now + REMEMBERED));
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut killers = Killers::default();
        let (now, model) = (Instant::now(), ModelId::next());
        for id in 0..=ROWS_MAX as i64 {
            killers.add(model, &row(id), now + Duration::from_millis(id as u64));
        }
        assert!(!killers.contain(model, &row(0), now));
        assert!(killers.contain(model, &row(1), now));
        assert_eq!(killers.until.len(), ROWS_MAX);
    }
}
