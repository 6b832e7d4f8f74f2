//! Coverage: which operators of a model run on the chip.
//!
//! [`census`] counts the operators of a traced graph; [`Coverage`] is what a bundle keeps and
//! `report` shows.

pub mod census;
pub mod estimate;
pub mod graph;
pub mod log;

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// The version of [`Coverage`] as JSON; described in `docs/report.md`.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// The most frequent first.
    pub on_chip: Vec<OperatorCount>,
    pub on_host: Vec<OperatorCount>,
}

/// How often an operator occurs in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorCount {
    /// As TorchScript names it, such as `aten::linear`.
    pub operator: String,
    pub count: usize,
}

impl BucketCoverage {
    /// The coverage of a bucket whose whole graph runs on the chip.
    pub fn all_on_chip(bucket: Bucket, mut operators: Vec<OperatorCount>) -> Self {
        operators.sort_by_key(|entry| (Reverse(entry.count), entry.operator.clone()));
        Self {
            bucket,
            on_chip: operators,
            on_host: Vec::new(),
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

impl Coverage {
    /// The share of arithmetic operators on the chip, over all buckets; 0 to 100. A model without
    /// operators has none that is missing.
    pub fn percent(&self) -> f64 {
        let counts = self.buckets.iter().map(BucketCoverage::counts);
        let (on_chip, all) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        percent(on_chip, all)
    }
}

/// `part` of `whole` in percent; 100 of nothing.
pub fn percent(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 100.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}
