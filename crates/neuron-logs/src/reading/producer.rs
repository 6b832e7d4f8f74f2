//! The programs that write compiler logs, and the generations of chips that they belong to.

use schemars::JsonSchema;
use serde::Serialize;

/// A program that writes compiler logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Producer {
    TorchNeuron,
    TensorflowNeuron,
    NeuronCc,
    TorchNeuronx,
    NeuronxCc,
    /// The wrapper with the compile cache around neuronx-cc.
    NeuronxWrapper,
    NeuronParallelCompile,
    OptimumNeuron,
    NxdInference,
    /// A compiler of either generation: dots and status lines only.
    Unnamed,
}

/// Which generation of chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChipFamily {
    /// `inf1`, compiled by neuron-cc.
    Inf1,
    /// `inf2`, `trn1`, `trn2` and later, compiled by neuronx-cc.
    Neuronx,
}
