//! Rows that workers died of. They are remembered for a while, by their hash: such a row runs alone, and one
//! that a second worker died of is refused, so that sending it again does not cost a third.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::bucket::Row;
use crate::serve::core::names::ModelId;

/// For so long a row is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// No more rows are remembered; the oldest are forgotten first.
const ROWS_MAX: usize = 4096;

/// Of so many deaths it is to blame.
const DEATHS_MAX: u32 = 2;

/// What is held against a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suspicion {
    None,
    /// A worker died with it, and perhaps of another one.
    Some,
    /// A second one did, of it alone.
    Proven,
}

/// The rows that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    hasher: RandomState,
    records: HashMap<u64, DeathRecord>,
}

#[derive(Debug, Clone, Copy)]
struct DeathRecord {
    deaths: u32,
    until: Instant,
}

impl Quarantine {
    /// A worker died with this row on it, which it ran alone if the row was a suspect. Only such a death adds
    /// to another: workers that die at the same time may have the same harmless row.
    pub(crate) fn blame(&mut self, model: ModelId, row: &Row, was_suspect: bool, now: Instant) {
        self.records.retain(|_, record| record.until > now);
        let hash = self.hash(model, row);
        if self.records.len() >= ROWS_MAX && !self.records.contains_key(&hash) {
            let oldest = self.records.iter().min_by_key(|(_, record)| record.until);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                self.records.remove(&oldest);
            }
        }
        let until = now + REMEMBERED;
        let record = self.records.entry(hash);
        let record = record.or_insert(DeathRecord { deaths: 0, until });
        record.deaths = match was_suspect {
            true => record.deaths + 1,
            false => record.deaths.max(1),
        };
        record.until = until;
    }

    /// A worker ran this row and lives.
    pub(crate) fn absolve(&mut self, model: ModelId, row: &Row) {
        let hash = self.hash(model, row);
        self.records.remove(&hash);
    }

    pub(crate) fn suspicion(&self, model: ModelId, row: &Row, now: Instant) -> Suspicion {
        // Nearly always there is nothing to compare with.
        if self.records.is_empty() {
            return Suspicion::None;
        }
        match self.records.get(&self.hash(model, row)) {
            Some(record) if record.until <= now => Suspicion::None,
            Some(record) if record.deaths >= DEATHS_MAX => Suspicion::Proven,
            Some(_) => Suspicion::Some,
            None => Suspicion::None,
        }
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
    fn a_row_is_refused_after_two_deaths_for_its_model_and_for_a_while() {
        let mut killers = Quarantine::default();
        let (now, model) = (Instant::now(), ModelId::next());
        let first = |killers: &Quarantine| killers.suspicion(model, &row(1), now);
        assert_eq!(first(&killers), Suspicion::None);
        for _ in 0..2 {
            killers.blame(model, &row(1), false, now);
            assert_eq!(first(&killers), Suspicion::Some);
        }
        killers.blame(model, &row(1), true, now);
        assert_eq!(first(&killers), Suspicion::Proven);
        assert_eq!(killers.suspicion(model, &row(2), now), Suspicion::None);
        let other = ModelId::next();
        assert_eq!(killers.suspicion(other, &row(1), now), Suspicion::None);
        let later = now + REMEMBERED;
        assert_eq!(killers.suspicion(model, &row(1), later), Suspicion::None);
    }

    #[test]
    fn a_row_that_is_run_after_all_is_cleared() {
        let mut killers = Quarantine::default();
        let (now, model) = (Instant::now(), ModelId::next());
        killers.blame(model, &row(1), true, now);
        killers.absolve(model, &row(1));
        assert_eq!(killers.suspicion(model, &row(1), now), Suspicion::None);
        killers.blame(model, &row(1), true, now);
        assert_eq!(killers.suspicion(model, &row(1), now), Suspicion::Some);
    }

    #[test]
    fn no_more_than_so_many_are_remembered() {
        let mut killers = Quarantine::default();
        let (now, model) = (Instant::now(), ModelId::next());
        for id in 0..=ROWS_MAX as i64 {
            let at = now + Duration::from_millis(id as u64);
            killers.blame(model, &row(id), false, at);
        }
        assert_eq!(killers.suspicion(model, &row(0), now), Suspicion::None);
        assert_eq!(killers.suspicion(model, &row(1), now), Suspicion::Some);
        assert_eq!(killers.records.len(), ROWS_MAX);
    }
}
