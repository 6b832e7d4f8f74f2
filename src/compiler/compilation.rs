//! What a compilation needs: plain data that the caller fills in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bucket::Bucket;
use crate::bundle::draft::Existing;
use crate::command::Program;
use crate::executor::interpreter::Interpreter;
use crate::plan::Plan;
use crate::profile::ChipProfile;

/// A plan, and the files and programs that tracing it needs.
#[derive(Debug)]
pub struct Compilation<'a> {
    pub plan: &'a Plan,
    pub profile: &'a ChipProfile,
    /// The folder of the model's files.
    pub model: &'a Path,
    /// The files of the weights, relative to `model`.
    pub weight_files: &'a [String],
    pub tracer: TracerProgram,
    /// Largest number of buckets that are worked on at the same time.
    pub jobs: usize,
    /// Limit for tracing all buckets.
    pub trace_deadline: Duration,
    /// Folder for temporary files.
    pub temporary: &'a Path,
}

/// The program that traces.
#[derive(Debug, Clone)]
pub enum TracerProgram {
    /// `neuronc-torch`, without arguments.
    Torch(Program),
    Python(Interpreter),
}

/// What a compilation for a Neuron chip needs beside a [`Compilation`].
pub struct Neuron<'a> {
    pub interpreter: Interpreter,
    /// Folder of the work folders.
    pub work: PathBuf,
    /// Bytes of host memory for all compilations together.
    pub memory: u64,
    /// The chip of this machine, which runs each artifact once; absent where there is none.
    pub device: Option<LocalDevice>,
    /// True when the SDK's `analyze` is asked as well.
    pub analyze: bool,
    /// Limit for the compilation of one bucket.
    pub deadline: Duration,
    /// Receives the lines that the compilers print.
    pub watch: Option<&'a LineWatch<'a>>,
}

/// The Neuron chip of the machine that compiles.
#[derive(Debug, Clone)]
pub struct LocalDevice {
    /// Variables that give a process the cores for one copy of the model and no others.
    pub environment: BTreeMap<&'static str, String>,
    /// Number of copies for which there are cores at the same time.
    pub copies: usize,
}

/// Receives each line that the compiler of a bucket prints.
pub type LineWatch<'a> = dyn Fn(Bucket, &str) + Sync + 'a;

/// The place of the new bundle, and what becomes of one that is there.
#[derive(Debug, Clone, Copy)]
pub struct BundleTarget<'a> {
    pub place: &'a Path,
    pub existing: Existing,
}
