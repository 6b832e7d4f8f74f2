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

impl Producer {
    /// The name under which users know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TorchNeuron => "torch-neuron",
            Self::TensorflowNeuron => "tensorflow-neuron",
            Self::NeuronCc => "neuron-cc",
            Self::TorchNeuronx => "torch-neuronx",
            Self::NeuronxCc => "neuronx-cc",
            Self::NeuronxWrapper => "the cache of neuronx-cc",
            Self::NeuronParallelCompile => "neuron_parallel_compile",
            Self::OptimumNeuron => "optimum-neuron",
            Self::NxdInference => "NxD Inference",
            Self::Unnamed => "a Neuron compiler",
        }
    }

    /// The chips that it compiles for; `None` where its lines do not say.
    pub fn chips(self) -> Option<ChipFamily> {
        match self {
            Self::TorchNeuron | Self::TensorflowNeuron | Self::NeuronCc => Some(ChipFamily::Inf1),
            Self::TorchNeuronx
            | Self::NeuronxCc
            | Self::NeuronxWrapper
            | Self::NeuronParallelCompile
            | Self::OptimumNeuron
            | Self::NxdInference => Some(ChipFamily::Neuronx),
            Self::Unnamed => None,
        }
    }
}

/// A generation of chips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChipFamily {
    /// `inf1`, compiled by neuron-cc.
    Inf1,
    /// `inf2`, `trn1`, `trn2` and later, compiled by neuronx-cc.
    Neuronx,
}
