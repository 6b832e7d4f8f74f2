//! A run: one trace, configuration or component, with its operators, functions and figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reading::Outcome;

/// One trace, configuration or component.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Run {
    /// What the log calls it.
    pub name: Option<RunName>,
    /// Set where the log says how this run ended, or where its figures decide it.
    pub outcome: Option<Outcome>,
    /// What is known before compiling about operators that are left to the host.
    pub screening: Option<Screening>,
    /// The line `(pre-compilation)`: not coverage.
    pub fused: Option<Fused>,
    /// The line `(post-compilation)`: coverage.
    pub compiled: Option<Compiled>,
    pub subgraphs: Subgraphs,
    /// The operators compiled for the chip, in the order of the log.
    pub compiled_operators: Option<Vec<OperatorCount>>,
    /// The operators left to the host, in the order of the log; empty when all were compiled.
    pub host_operators: Option<Vec<HostOperator>>,
    /// The functions, sub-graphs or graphs handed to the compiler.
    pub functions: Vec<Function>,
    /// Functions that fell back to the host, each once, in order of appearance.
    pub failed_functions: Vec<String>,
    /// TensorFlow's counts of graph nodes.
    pub placement: Option<Placement>,
    pub batch: Option<u64>,
    pub cores: Option<u64>,
    /// Compiler arguments that the producer names for this run without a command line.
    pub compiler_args: Option<String>,
    pub elapsed_s: Option<f64>,
    /// Dots printed by the compiler while this run was compiled.
    pub progress_dots: u64,
}

/// What the log calls a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum RunName {
    Model(String),
    Component(String),
    Module(String),
}

/// Which operators are left to the host before anything is compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Screening {
    /// "All operators are compiled": the intention, not the result.
    AllSupported,
    Unsupported {
        /// How many operators, and of how many types.
        count: u64,
        types: u64,
        operators: Vec<String>,
    },
}

/// Arithmetic operators taken into sub-graphs before compiling.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Fused {
    pub total: u64,
    pub fused: u64,
    /// As printed.
    pub percent: f64,
}

/// Arithmetic operators that run on the chip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Compiled {
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
    /// Of the sub-graphs, as printed; not a share of operators.
    pub percent: Option<f64>,
}

/// How often an operator occurs in a graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorCount {
    /// As TorchScript names it, such as `aten::linear`.
    pub operator: String,
    pub count: usize,
}

/// An operator left to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HostOperator {
    pub operator: String,
    pub count: u64,
    /// Whether the compiler supports the type; it was not compiled either way. `None` where the log
    /// says neither.
    pub supported: Option<bool>,
}

/// A function handed to the compiler.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
pub struct Function {
    /// Such as `_NeuronGraph$661`.
    pub name: Option<String>,
    /// Where its compiler wrote its own log.
    pub log_file: Option<String>,
    /// Compiler arguments behind the input and output.
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
pub struct Placement {
    pub in_session: Option<u64>,
    pub after_optimisation: Option<u64>,
    pub on_neuron: Option<u64>,
    /// As printed.
    pub percent: Option<f64>,
}
