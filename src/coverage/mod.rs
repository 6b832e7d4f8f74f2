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
