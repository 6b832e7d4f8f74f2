//! The jobs of executors: everything that is needed, with nothing left to defaults.
//!
//! `neuronc-torch` does [`TraceJob`]; the Python script under `sdk/` does the others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::{Bucket, Input, Row};
use crate::cast::Cast;
use crate::family::weights::WeightSource;
use crate::family::{Head, ModelSpec};
use crate::profile::{Attention, CompilerKind};
use crate::sample::output::{OutputLayout, PlannedOutput};

/// The version of jobs and events; executor and caller must agree.
pub const PROTOCOL: u32 = 4;

/// Trace a model of a native family into one graph per bucket.
///
/// Writes into `folder`: [`WEIGHTS_FILE`], the graphs at `graphs[i].file`, and the reference
/// outputs at [`REFERENCE_FILE`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceJob {
    pub protocol: u32,
    /// The forward, whichever family it is of.
    pub spec: ModelSpec,
    pub attention: Attention,
    pub cast: Cast,
    /// In the order in which the graph takes them.
    pub weights: Vec<WeightSource>,
    /// What the graph takes after the weights.
    pub inputs: Vec<Input>,
    /// What the graph returns.
    pub output: OutputLayout,
    pub graphs: Vec<GraphJob>,
    /// Run eagerly in fp32, each row alone and without padding.
    pub references: Vec<Row>,
    /// Graphs that are traced at the same time.
    pub jobs: usize,
    pub folder: PathBuf,
}

/// One graph of a [`TraceJob`]; files are relative to the job's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphJob {
    pub bucket: Bucket,
    pub file: String,
    /// Where to write an ordinary TorchScript file that contains the weights.
    pub self_contained: Option<String>,
}

/// What Python makes an `nn.Module` of: it takes the tensors of `inputs` and returns the one tensor
/// that [`Head`] describes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "module", rename_all = "kebab-case")]
pub enum Module {
    /// A graph that takes its weights as inputs; they become parameters of the module.
    Graph {
        file: PathBuf,
        weights: PathBuf,
        /// In the order in which the graph takes them.
        weight_names: Vec<String>,
    },
    /// The model that transformers loads from a folder, with the head's pooling behind it.
    Transformers {
        folder: PathBuf,
        head: Head,
        attention: Attention,
    },
    /// A TorchScript file with its weights inside.
    Torchscript { file: PathBuf, head: Head },
}

/// Say what transformers' forward for a model takes; reads the model's small files only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DescribeJob {
    pub protocol: u32,
    /// The folder of the model's files.
    pub folder: PathBuf,
    pub head: Head,
}

/// Trace a module that Python loads into one graph per bucket, for libtorch on the host or for a
/// census. Writes into `folder` what a [`TraceJob`] writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModuleTraceJob {
    pub protocol: u32,
    pub module: Module,
    pub inputs: Vec<Input>,
    pub pad_id: i64,
    /// What the module returns, as far as it is known.
    pub output: PlannedOutput,
    pub graphs: Vec<GraphJob>,
    /// Run eagerly in fp32, each row alone and without padding.
    pub references: Vec<Row>,
    pub folder: PathBuf,
}

/// Compile a module for one bucket with the SDK, save the artifact, and load it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompileJob {
    pub protocol: u32,
    /// Which `trace` is called.
    pub compiler: CompilerKind,
    pub module: Module,
    pub inputs: Vec<Input>,
    pub pad_id: i64,
    pub bucket: Bucket,
    /// A row that fits the bucket: what the example inputs hold.
    pub example: Row,
    /// The command line of the compiler, with every default.
    pub compiler_args: Vec<String>,
    /// Options of `trace` itself, by keyword; `optimizations` is a list of names.
    pub trace_options: BTreeMap<String, Value>,
    /// A device is here: the artifact is run on it once, and never without one.
    pub device: bool,
    /// Where the artifact goes.
    pub artifact: PathBuf,
    /// Where the answer of the SDK's `analyze` goes, where it is asked for.
    pub analysis: Option<PathBuf>,
    /// Working space of the compiler.
    pub work: PathBuf,
}

/// Lower a module to HLO for every bucket, and run it with XLA on the processor: what can be proven
/// of a compilation without the compiler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LowerJob {
    pub protocol: u32,
    pub inputs: Vec<Input>,
    pub pad_id: i64,
    pub modules: Vec<LowerModule>,
    /// Each is run alone in every bucket that holds it.
    pub rows: Vec<Row>,
}

/// One bucket of a [`LowerJob`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LowerModule {
    pub bucket: Bucket,
    pub module: Module,
    /// Where the HLO goes, as text.
    pub hlo: PathBuf,
    /// Where XLA's outputs go: a safetensors file with one tensor per row, named by its index,
    /// `[batch, ...]` as the graph returns it.
    pub outputs: PathBuf,
}

/// The weights of a bundle, as one safetensors file with the names of `family::EncoderPart`.
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// The reference outputs of a bundle: tensor `i` is the fp32 output for reference row `i`, sampled
/// to at most [`REFERENCE_VALUES_MAX`] values with an even stride.
pub const REFERENCE_FILE: &str = "reference.safetensors";

/// No reference output holds more values than this.
pub const REFERENCE_VALUES_MAX: usize = 4096;

/// The distance between two values that are kept of an output of `values` values.
pub fn reference_stride(values: usize) -> usize {
    values.div_ceil(REFERENCE_VALUES_MAX).max(1)
}
