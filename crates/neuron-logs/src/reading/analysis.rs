//! Results that come without compiling: those of `analyze` commands and of the partitioner.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::run::OperatorCount;

/// The result of an `analyze` command: the operators that are *supported*.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Analysis {
    /// The share as reported; over HLO instructions when neuronx-cc was asked.
    pub percent: Option<f64>,
    /// All operators, with primitives.
    pub all: Option<SupportedShare>,
    pub arithmetic: Option<SupportedShare>,
    /// In the order of the log. A count is `None` where only names are listed.
    pub supported: Vec<AnalyzedOperator>,
    pub unsupported: Vec<UnsupportedOperator>,
    /// HLO instructions, where the report lists them beside the operators.
    pub supported_hlo: Vec<String>,
    pub unsupported_hlo: Vec<String>,
    /// The number of times that each operator occurs, where reported.
    pub operator_count: BTreeMap<String, u64>,
}

/// A share of operators that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct SupportedShare {
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
    /// The step that refused it, such as `neuronx-cc` or `Lowering to HLO`.
    pub failure_at: Option<String>,
    /// The first line of the call stack, as reported.
    pub call: Option<String>,
}

/// The result of the partitioner of torch-neuronx.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Partitioning {
    /// The announced number of partitions.
    pub announced: Option<u64>,
    /// The share of supported operators that the partitioner reports.
    pub support_percent: Option<f64>,
    pub partitions: Vec<Partition>,
}

/// A partition: operators that run on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Partition {
    /// The device as printed: `NEURON` or `CPU`.
    pub device: String,
    pub operators: Vec<OperatorCount>,
}

impl Partition {
    /// True for a partition that runs on the chip.
    pub fn is_on_chip(&self) -> bool {
        self.device != "CPU"
    }
}
