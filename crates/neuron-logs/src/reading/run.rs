//! A run: one trace, configuration or component, with its operators, functions and figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::CompilationOutcome;

/// One trace, configuration or component.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogRun {
    /// The name that the log gives it.
    pub name: Option<RunName>,
    /// The outcome of this run, where the log states it or its figures decide it.
    pub outcome: Option<CompilationOutcome>,
    /// The operators left to the host, as it is known before compiling.
    pub screening: Option<OperatorScreening>,
    /// The line `(pre-compilation)`: not coverage.
    pub fused: Option<FusedShare>,
    /// The line `(post-compilation)`: coverage.
    pub compiled: Option<CompiledShare>,
    pub subgraphs: Subgraphs,
    /// The operators compiled for the chip, in the order of the log.
    pub compiled_operators: Option<Vec<OperatorCount>>,
    /// The operators left to the host, in the order of the log; empty when all were compiled.
    pub host_operators: Option<Vec<HostOperator>>,
    /// The functions, sub-graphs or graphs handed to the compiler.
    pub functions: Vec<LogFunction>,
    /// Functions that fell back to the host, each once, in order of appearance.
    pub failed_functions: Vec<String>,
    /// TensorFlow's counts of graph nodes.
    pub placement: Option<NodePlacement>,
    pub batch: Option<u64>,
    pub cores: Option<u64>,
    /// Compiler arguments that the producer names for this run without a command line.
    pub compiler_args: Option<String>,
    pub elapsed_s: Option<f64>,
    /// Dots printed by the compiler while this run was compiled.
    pub progress_dots: u64,
}

/// The name of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum RunName {
    Model(String),
    Component(String),
    Module(String),
}

/// The operators left to the host, before anything is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OperatorScreening {
    /// "All operators are compiled": the intention, not the result.
    AllSupported,
    Unsupported {
        /// The number of operators, and of their types.
        count: u64,
        types: u64,
        operators: Vec<String>,
    },
}

/// Arithmetic operators taken into sub-graphs before compiling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct FusedShare {
    pub total: u64,
    pub fused: u64,
    /// As printed.
    pub percent: f64,
}

/// Arithmetic operators that run on the chip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct CompiledShare {
    pub total: u64,
    pub compiled: u64,
    /// As printed.
    pub percent: f64,
}

/// Sub-graphs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Subgraphs {
    pub created: Option<u64>,
    pub compiled: Option<u64>,
    pub fused: Option<u64>,
    /// The share of compiled sub-graphs, as printed; not a share of operators.
    pub percent: Option<f64>,
}

/// The number of times that an operator occurs in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorCount {
    /// The name in TorchScript, such as `aten::linear`.
    pub operator: String,
    pub count: usize,
}

/// An operator left to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostOperator {
    pub operator: String,
    pub count: u64,
    /// True when the compiler supports the type; the operator was not compiled either way. `None`
    /// where the log does not say.
    pub supported: Option<bool>,
}

/// A function handed to the compiler.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct LogFunction {
    /// The name, such as `_NeuronGraph$661`.
    pub name: Option<String>,
    /// The path of the log that its compiler wrote.
    pub log_file: Option<String>,
    /// The compiler arguments behind the input and output.
    pub compiler_args: Option<String>,
    pub inputs: Vec<TensorSpec>,
    /// Names of the output tensors.
    pub outputs: Vec<String>,
}

/// An input tensor of a compiled function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<i64>,
    pub dtype: String,
}

/// TensorFlow's counts of graph nodes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct NodePlacement {
    pub in_session: Option<u64>,
    pub after_optimisation: Option<u64>,
    pub on_neuron: Option<u64>,
    /// As printed.
    pub percent: Option<f64>,
}

impl LogRun {
    /// The number of operators in the list of those compiled for the chip.
    pub fn listed_on_chip(&self) -> u64 {
        let counts = self.compiled_operators.iter().flatten();
        sum(counts.map(|entry| entry.count as u64))
    }

    /// The number of operators in the list of those left to the host.
    pub fn listed_on_host(&self) -> u64 {
        let counts = self.host_operators.iter().flatten();
        sum(counts.map(|entry| entry.count))
    }
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}
