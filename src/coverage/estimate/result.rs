//! The result of an estimate, as plain data: operators by support and by place, weighed by FLOPs.

use std::iter::Sum;

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;

/// The version of [`Estimate`] as JSON; described in `docs/estimate.md`.
pub const SCHEMA_VERSION: u32 = 1;

/// The estimate for a model on a chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub schema_version: u32,
    pub chip: String,
    /// True for a chip whose compiler takes a graph as a whole or not at all.
    pub all_or_nothing: bool,
    /// The lists that the estimate is based on, in the order in which they are asked.
    pub lists: Vec<ListUsed>,
    /// The assumptions about the graph, as sentences.
    pub notes: Vec<String>,
    pub buckets: Vec<BucketEstimate>,
    /// The sums over all buckets.
    pub totals: EstimateTotals,
}

/// A list that an estimate is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListUsed {
    /// The name in the profile.
    pub name: String,
    /// What it lists, for people.
    pub title: String,
    /// The release that it describes, and how far it can be trusted.
    pub version: String,
    pub source: String,
}

/// Whether a chip takes an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorSupport {
    Supported,
    NotSupported,
    NotKnown,
}

/// The operators of one graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketEstimate {
    /// Absent for a graph that neuronc did not trace.
    pub bucket: Option<Bucket>,
    /// The most frequent first.
    pub operators: Vec<OperatorEstimate>,
    pub totals: EstimateTotals,
}

/// The calls of one operator that run at the same place for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEstimate {
    /// The name in TorchScript, such as `aten::linear`.
    pub operator: String,
    pub count: usize,
    pub state: OperatorSupport,
    pub place: OperatorPlace,
    /// The FLOPs of the calls for which they are known.
    pub flops: u64,
    /// The number of calls whose FLOPs are not known.
    pub flops_unknown: usize,
    /// Why the calls are there, where that needs saying.
    pub reason: Option<String>,
}

/// The place where an operator will run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorPlace {
    Chip,
    /// On the host's processor; with a compiler that is all or nothing, nowhere.
    Host,
    NotKnown,
}

/// Sums over operators.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EstimateTotals {
    /// Calls of operators.
    pub operators: PlaceShare,
    pub flops: PlaceShare,
    /// Calls whose FLOPs are not known and not in `flops`.
    pub flops_unknown: usize,
}

/// An amount, divided by where it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaceShare {
    pub chip: u64,
    pub host: u64,
    pub not_known: u64,
    /// `chip` of all three; absent when they are all 0.
    pub percent: Option<f64>,
}

impl EstimateTotals {
    /// The totals of one entry.
    pub(super) fn of(entry: &OperatorEstimate) -> Self {
        Self {
            operators: PlaceShare::at(entry.place, entry.count as u64),
            flops: PlaceShare::at(entry.place, entry.flops),
            flops_unknown: entry.flops_unknown,
        }
    }
}

impl Sum for EstimateTotals {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            operators: sum.operators.plus(one.operators),
            flops: sum.flops.plus(one.flops),
            flops_unknown: sum.flops_unknown + one.flops_unknown,
        })
    }
}

impl PlaceShare {
    fn at(place: OperatorPlace, amount: u64) -> Self {
        let mut share = Self::default();
        match place {
            OperatorPlace::Chip => share.chip = amount,
            OperatorPlace::Host => share.host = amount,
            OperatorPlace::NotKnown => share.not_known = amount,
        }
        share.plus(Self::default())
    }

    /// All of it.
    pub fn all(&self) -> u64 {
        let known = self.chip.saturating_add(self.host);
        known.saturating_add(self.not_known)
    }

    fn plus(self, other: Self) -> Self {
        let sum = Self {
            chip: self.chip.saturating_add(other.chip),
            host: self.host.saturating_add(other.host),
            not_known: self.not_known.saturating_add(other.not_known),
            percent: None,
        };
        let all = sum.all();
        Self {
            percent: (all > 0).then(|| sum.chip as f64 * 100.0 / all as f64),
            ..sum
        }
    }
}
