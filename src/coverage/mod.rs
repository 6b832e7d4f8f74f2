//! Coverage: which operators of a model run on the chip.
//!
//! [`graph`] reads a TorchScript file, [`census`] counts its operators, and [`estimate`] says which of
//! them a chip would run. [`Coverage`] is what a bundle keeps and `report` shows.

pub mod census;
pub mod estimate;
pub mod graph;

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

pub use neuron_logs::reading::OperatorCount;

/// The version of [`Coverage`] as JSON; described in `docs/report.md`.
pub const SCHEMA_VERSION: u32 = 2;

/// The operators of every bucket of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub schema_version: u32,
    pub model: String,
    pub chip: String,
    pub buckets: Vec<BucketCoverage>,
}

/// The operators of one bucket's graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketCoverage {
    pub bucket: Bucket,
    pub basis: Basis,
    /// The most frequent first.
    pub on_chip: Vec<OperatorCount>,
    pub on_host: Vec<OperatorCount>,
}

/// The evidence for where the operators of a bucket run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The executor runs the graph as a whole; its operators were counted.
    Graph,
    /// The compiler takes a graph as a whole or not at all, and it took this one.
    AllOrNothing,
    /// The compiler's log lists what it compiled and what it left.
    Log,
    /// The compiler's log does not say.
    NotKnown,
}

impl BucketCoverage {
    /// The most frequent operators first.
    pub fn new(
        bucket: Bucket,
        basis: Basis,
        mut on_chip: Vec<OperatorCount>,
        mut on_host: Vec<OperatorCount>,
    ) -> Self {
        for operators in [&mut on_chip, &mut on_host] {
            operators.sort_by_key(|entry| (Reverse(entry.count), entry.operator.clone()));
        }
        Self {
            bucket,
            basis,
            on_chip,
            on_host,
        }
    }

    /// Operators that run on the chip, and all of them.
    pub fn counts(&self) -> (usize, usize) {
        let sum =
            |entries: &[OperatorCount]| entries.iter().map(|entry| entry.count).sum::<usize>();
        let on_chip = sum(&self.on_chip);
        (on_chip, on_chip + sum(&self.on_host))
    }
}
