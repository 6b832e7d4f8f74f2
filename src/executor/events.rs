//! What an executor reports while it works on a job, one JSON object per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Input};
use crate::sample::output::OutputLayout;

/// A line on an executor's stdout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line: who answers.
    Started {
        protocol: u32,
        executor: String,
        /// Versions of the frameworks in the executor, such as `libtorch`.
        versions: Vec<(String, String)>,
    },
    /// The weights were written; every graph takes them in the order of `names`.
    Weights { bytes: u64, names: Vec<String> },
    /// A graph was traced and written.
    Graph { bucket: Bucket, millis: u64 },
    /// The reference outputs were written; they and what the graphs return have the layout `output`.
    References { rows: usize, output: OutputLayout },
    /// What an interpreter is and has; the answer to a probe.
    Probed(Box<Probed>),
    /// What transformers' forward takes.
    Described {
        inputs: Vec<Input>,
        pad_id: i64,
        /// The longest input that the model's positions cover.
        max_tokens: usize,
    },
    /// The compilation of a bucket enters a stage.
    Stage { bucket: Bucket, stage: Stage },
    /// An artifact was written and loaded again; `ran` where a device ran it.
    Artifact {
        bucket: Bucket,
        bytes: u64,
        millis: u64,
        ran: bool,
    },
    /// A module was lowered to HLO.
    Lowered {
        bucket: Bucket,
        /// HLO operators by name, as the compiler's list spells them.
        operators: BTreeMap<String, usize>,
        /// Of the HLO as a protocol buffer.
        bytes: u64,
        millis: u64,
    },
    /// The job failed; the last line.
    Failed {
        class: FailureClass,
        message: String,
    },
    /// The job is done; the last line.
    Done,
}

/// An interpreter as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Such as `3.10.12`.
    pub python: String,
    /// The interpreter, with links resolved as little as Python does.
    pub executable: String,
    /// Installed distributions among those that matter, by name, such as `neuronx-cc`.
    pub packages: BTreeMap<String, String>,
    /// `torch.__version__`; absent where torch cannot be imported.
    pub torch: Option<String>,
    /// Whether torch was built with the C++11 ABI.
    pub cxx11_abi: Option<bool>,
    /// Why a module that was asked for cannot be imported, by its name; those that can are absent.
    pub missing: BTreeMap<String, String>,
    /// Folders of packages, in the order in which Python looks at them.
    pub site_packages: Vec<String>,
}

/// What the compilation of a bucket is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The SDK and the module are loaded.
    Loading,
    /// `analyze` asks the compiler about each operator.
    Analyzing,
    /// `trace` traces, lowers and calls the compiler.
    Compiling,
    Saving,
    /// The artifact is loaded again, and run where there is a device.
    Checking,
}

impl Stage {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Loading => "loading",
            Stage::Analyzing => "analyzing",
            Stage::Compiling => "compiling",
            Stage::Saving => "saving",
            Stage::Checking => "checking",
        }
    }
}

/// What kind of failure an executor reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The job or a file it names cannot be used.
    Input,
    /// Memory or disk ran out.
    Resources,
    /// The framework failed.
    Framework,
    /// A module of the SDK is missing, broken or another one than it should be.
    Sdk,
    /// The compiler refused the model, or failed.
    Compiler,
    /// The device cannot be used.
    Device,
}
