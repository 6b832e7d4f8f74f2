//! A job for an executor: everything it needs, with nothing left to defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Input, Row};
use crate::family::weights::WeightSource;
use crate::family::{Family, Head};
use crate::profile::Attention;

/// The version of jobs and events; executor and caller must agree.
pub const PROTOCOL: u32 = 1;

/// Trace a model of a native family into one graph per bucket.
///
/// Writes into `folder`: [`WEIGHTS_FILE`], the graphs at `graphs[i].file`, and the reference
/// outputs at [`REFERENCE_FILE`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceJob {
    pub protocol: u32,
    pub family: Family,
    pub head: Head,
    pub attention: Attention,
    pub cast: Cast,
    /// In the order in which the graph takes them.
    pub weights: Vec<WeightSource>,
    /// What the graph takes after the weights.
    pub inputs: Vec<Input>,
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

/// The weights of a bundle, as one safetensors file with the names of the family.
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

/// Which operators run in a smaller float type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    pub mode: CastMode,
    pub to: CastType,
}

/// The values of `--auto-cast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CastMode {
    None,
    /// Operands of linear layers and matrix products are cast; results come back as fp32.
    Matmult,
    /// Everything between the embeddings and the output.
    All,
}

/// The values of `--auto-cast-type` that libtorch on a CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CastType {
    Bf16,
    Fp16,
}
