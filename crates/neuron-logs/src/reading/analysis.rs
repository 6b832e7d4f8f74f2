//! What is decided about operators without compiling: the results of `analyze`, and partitions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::reading::OperatorCount;

/// What `analyze` reports: which operators are *supported*.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Analysis {
    /// The share as reported; over HLO instructions when neuronx-cc was asked.
    pub percent: Option<f64>,
    /// All operators, with primitives.
    pub all: Option<Supported>,
    pub arithmetic: Option<Supported>,
    /// In the order of the log. A count is `None` where only names are listed.
    pub supported: Vec<AnalyzedOperator>,
    pub unsupported: Vec<UnsupportedOperator>,
    /// HLO instructions, where the report lists them beside the operators.
    pub supported_hlo: Vec<String>,
    pub unsupported_hlo: Vec<String>,
    /// How often each operator occurs, where reported.
    pub operator_count: BTreeMap<String, u64>,
}

/// A share of operators that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Supported {
    pub supported: u64,
    pub total: u64,
    /// As printed.
    pub percent: f64,
}

/// A supported operator of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AnalyzedOperator {
    pub operator: String,
    pub count: Option<u64>,
}

/// An unsupported operator of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct UnsupportedOperator {
    pub operator: String,
    /// Which step refused it, such as `neuronx-cc` or `Lowering to HLO`.
    pub failure_at: Option<String>,
    /// The first line of the call stack, as reported.
    pub call: Option<String>,
}

/// What the partitioner of torch-neuronx decided.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Partitioning {
    /// The announced number of partitions.
    pub announced: Option<u64>,
    /// The share of supported operators that the partitioner reports.
    pub support_percent: Option<f64>,
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Partition {
    /// `NEURON` or `CPU`, as printed.
    pub device: String,
    pub operators: Vec<OperatorCount>,
}
