//! A chip as its profile describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::profile::argument::{Argument, Decides, RefusedFlags};

/// The version of the profile format that this build reads.
pub(super) const FORMAT: u32 = 1;

/// One chip: its compiler, the arguments that compiler takes, its hardware and its instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipProfile {
    pub format: u32,
    pub name: String,
    pub title: String,
    /// Facts to know before choosing this chip, such as an end of support.
    #[serde(default)]
    pub notes: Vec<String>,
    pub compiler: Compiler,
    /// By name, without the leading dashes.
    pub arguments: BTreeMap<String, Argument>,
    /// Flags that the user may bring from elsewhere, with the reason why not and what to say instead.
    #[serde(default)]
    pub refused: Vec<RefusedFlags>,
    pub attention: Attention,
    /// Used where neither the command line nor the recipe names buckets.
    pub buckets: BucketGrid,
    /// The differences that `verify` accepts, by the value of the argument that decides the cast.
    pub tolerances: BTreeMap<String, Tolerance>,
    #[serde(default)]
    pub hardware: Option<ChipHardware>,
    #[serde(default)]
    pub sdk: Option<Sdk>,
    #[serde(default)]
    pub instances: Vec<InstanceType>,
    #[serde(default)]
    pub operators: Option<Operators>,
}

/// The program that turns a graph into an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compiler {
    pub kind: CompilerKind,
    /// The compiler's own name for the chip, where it has one.
    #[serde(default)]
    pub target: Option<String>,
    /// The package that is the compiler, one of `sdk.packages`.
    #[serde(default)]
    pub package: Option<String>,
}

/// The compilers that neuronc can drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompilerKind {
    /// The graph is the artifact; libtorch runs it on the host.
    Libtorch,
    /// `torch_neuron.trace`, whose compiler is neuron-cc.
    TorchNeuron,
    /// `torch_neuronx.trace`, whose compiler is neuronx-cc.
    TorchNeuronx,
}

impl CompilerKind {
    /// True when the traced graph is the artifact, and the host runs it.
    pub fn is_host(self) -> bool {
        self == Self::Libtorch
    }

    /// True when the compiler takes HLO from torch-xla.
    pub fn lowers_through_xla(self) -> bool {
        self == Self::TorchNeuronx
    }
}

/// The form in which attention is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attention {
    /// One `scaled_dot_product_attention`.
    Fused,
    /// Two matrix products around a softmax.
    Explicit,
}

/// The grid of buckets: every batch size with every sequence length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketGrid {
    pub batch_size: Vec<usize>,
    pub sequence_length: Vec<usize>,
    /// The largest number of tokens of a bucket of more than one row; without it all are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
}

impl BucketGrid {
    /// All buckets, shortest sequence first, each once. Each length keeps its smallest batch.
    pub fn buckets(&self) -> Vec<Bucket> {
        let smallest = self.batch_size.iter().min().copied();
        let is_small_enough = |bucket: &Bucket| {
            let tokens = bucket.batch.saturating_mul(bucket.sequence);
            Some(bucket.batch) == smallest || self.tokens_max.is_none_or(|most| tokens <= most)
        };
        let mut buckets: Vec<Bucket> = self
            .sequence_length
            .iter()
            .flat_map(|&sequence| {
                self.batch_size
                    .iter()
                    .map(move |&batch| Bucket { sequence, batch })
            })
            .filter(is_small_enough)
            .collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }
}

/// The difference to the fp32 reference that `verify` accepts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    pub max_abs: f64,
    pub min_cosine: f64,
}

/// One chip as hardware; memory in GiB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipHardware {
    pub device: String,
    pub core: String,
    pub cores_per_device: u32,
    pub memory_gib_per_device: f64,
    /// Device memory bandwidth in GiB/s, per device.
    #[serde(default)]
    pub memory_gib_per_second: Option<f64>,
    /// Peak TFLOPS per device, by element type.
    #[serde(default)]
    pub tflops: BTreeMap<String, f64>,
    /// Logical cores per device by `NEURON_RT_VIRTUAL_CORE_SIZE`, where the chip groups cores.
    #[serde(default)]
    pub logical_cores_per_device: BTreeMap<u32, u32>,
}

/// The SDK that drives the chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdk {
    /// The last release whose packages serve this chip.
    pub release: String,
    /// The Python module that `neuronc` imports.
    pub module: String,
    /// Package versions of that release.
    pub packages: BTreeMap<String, String>,
    pub torch: String,
    pub python: Vec<String>,
    /// The newest driver series that still serves the chip, where there is a ceiling.
    #[serde(default)]
    pub driver_ceiling: Option<String>,
    /// Virtual environments of the machine images, tried in this order.
    pub environments: Vec<String>,
    /// Container images that hold the SDK.
    #[serde(default)]
    pub containers: Vec<String>,
    /// The plugin library, relative to the environment's site-packages.
    pub plugin: String,
    #[serde(default)]
    pub runtime_library: Option<String>,
    pub compile_memory: CompileMemory,
}

/// The memory of the host that a compilation is expected to need: the sum of three parts. Nothing is
/// published about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileMemory {
    /// The interpreter, the SDK and the compiler, whatever they compile.
    pub base_gib: f64,
    /// Copies of the model's weights in fp32.
    pub times_weights: f64,
    /// MiB for 1000 tokens of the bucket, rows times sequence.
    pub mib_per_1000_tokens: f64,
}

/// One row of the instance table; memory in GiB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceType {
    pub name: String,
    pub devices: u32,
    pub cores: u32,
    pub device_memory_gib: u32,
    #[serde(default)]
    pub vcpus: Option<u32>,
    #[serde(default)]
    pub host_memory_gib: Option<u32>,
    /// Effective hourly price of a three-year reservation in us-east-1, where AWS publishes it.
    #[serde(default)]
    pub reserved_usd_per_hour: Option<f64>,
    #[serde(default)]
    pub note: Option<String>,
}

/// The operators that the compiler takes, as far as they are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    /// Names of embedded lists; an earlier one is asked first.
    pub lists: Vec<String>,
    /// The meaning of an operator that is on none of the lists.
    pub absent: Absent,
    /// How the compiler leaves operators to the host; without it a graph compiles as a whole or
    /// not at all.
    #[serde(default)]
    pub partitioner: Option<PartitionLimits>,
}

/// The meaning of an operator that is on none of the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// The lists are complete.
    NotSupported,
    /// The lists are not complete.
    NotKnown,
}

/// The limits by which a graph is divided between chip and host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionLimits {
    /// Smaller sub-graphs stay on the host.
    pub minimum_operators: usize,
    /// A sub-graph with more than this share of all operators is the only one on the chip.
    pub single_share: f64,
}

impl ChipProfile {
    /// True when the compiler can leave operators to the host.
    pub fn has_partitioner(&self) -> bool {
        let operators = self.operators.as_ref();
        operators.is_some_and(|operators| operators.partitioner.is_some())
    }

    /// The argument that decides something, and its name.
    pub fn deciding(&self, decides: Decides) -> Option<(&str, &Argument)> {
        let mut arguments = self.arguments.iter();
        let (name, argument) = arguments.find(|(_, a)| a.decides == Some(decides))?;
        Some((name, argument))
    }

    /// The version of the compiler in the SDK release that the profile describes.
    pub fn compiler_version(&self) -> Option<&str> {
        let package = self.compiler.package.as_ref()?;
        let version = self.sdk.as_ref()?.packages.get(package)?;
        Some(version)
    }
}
