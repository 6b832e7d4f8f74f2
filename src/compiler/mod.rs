//! The compiler: from a plan and a model's files to a sealed bundle.
//!
//! [`tracing`] makes graphs, weights and references. On cpu the graphs are the artifacts; for a Neuron
//! chip [`neuron`] has the SDK compile each, in a [`work_dir`] that outlives a failure.

mod coverage;
pub mod diagnostic;
mod dots;
mod lines;
pub mod memory;
pub mod neuron;
pub mod tracing;
pub mod work_dir;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bucket::Bucket;
use crate::bundle::draft::{Draft, Existing};
use crate::bundle::manifest::{Artifact, Manifest};
use crate::bundle::{Bundle, COVERAGE_FILE};
use crate::command::Program;
use crate::compiler::tracing::Traced;
use crate::compiler::work_dir::WorkDir;
use crate::executor::events::Stage;
use crate::executor::interpreter::Interpreter;
use crate::files;
use crate::plan::Plan;
use crate::profile::ChipProfile;

/// A plan with the places of everything it needs.
#[derive(Debug)]
pub struct Compilation<'a> {
    pub plan: &'a Plan,
    pub profile: &'a ChipProfile,
    /// The folder of the model's files.
    pub model: &'a Path,
    /// The files of the weights below it.
    pub weight_files: &'a [String],
    pub tracer: Tool,
    /// Buckets that are worked on at the same time, at most.
    pub jobs: usize,
    /// Tracing is stopped when it takes longer.
    pub trace_deadline: Duration,
    /// For files that do not outlive the process.
    pub temporary: &'a Path,
}

/// A program that traces.
#[derive(Debug, Clone)]
pub enum Tool {
    /// `neuronc-torch`, without arguments.
    Torch(Program),
    Python(Interpreter),
}

/// What compiling for a Neuron chip needs beside a [`Compilation`].
pub struct Neuron<'a> {
    pub interpreter: Interpreter,
    /// Where work folders lie.
    pub work: PathBuf,
    /// Bytes that all compilations together may need.
    pub memory: u64,
    /// The chip of this machine, where it has one: it runs each artifact once.
    pub device: Option<Device>,
    /// Ask the SDK's `analyze` too.
    pub analyze: bool,
    /// The compilation of one bucket is stopped when it takes longer.
    pub deadline: Duration,
    /// Sees what the compilers print.
    pub watch: Option<&'a Watch<'a>>,
}

/// The chip of a machine that compiles.
#[derive(Debug, Clone)]
pub struct Device {
    /// What gives a process the cores for one copy of the model, and leaves the others alone.
    pub environment: BTreeMap<&'static str, String>,
    /// Copies that find cores at the same time.
    pub copies: usize,
}

/// Sees each line that the compiler of a bucket prints.
pub type Watch<'a> = dyn Fn(Bucket, &str) + Sync + 'a;

/// Where a bundle goes.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub place: &'a Path,
    pub existing: Existing,
}

/// What happens during a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The executor has the weights and begins to trace.
    Tracing,
    /// One more bucket is traced.
    Traced {
        bucket: Bucket,
        millis: u64,
    },
    /// An earlier run compiled the bucket.
    Kept {
        bucket: Bucket,
    },
    /// The compilation of a bucket goes on.
    Stage {
        bucket: Bucket,
        stage: Stage,
    },
    /// The compiler printed that many dots so far.
    Dots {
        bucket: Bucket,
        count: u64,
    },
    Compiled {
        bucket: Bucket,
        millis: u64,
    },
    Failed {
        bucket: Bucket,
    },
    /// All files are there; their hashes are taken.
    Sealing,
}

/// Traces every bucket of the plan for libtorch on the host and seals the bundle. Leaves nothing
/// behind when it fails.
pub fn for_host(
    compilation: &Compilation,
    target: Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Bundle> {
    let draft = Draft::start(target.place, target.existing)?;
    let traced = tracing::trace(compilation, draft.folder(), progress)?;
    progress(Progress::Sealing);
    let artifact = |(bucket, file): &(Bucket, String)| Artifact {
        bucket: *bucket,
        graph: file.clone(),
        file: file.clone(),
        log: None,
    };
    let artifacts = traced.graphs.iter().map(artifact).collect();
    seal(compilation, draft, traced, artifacts)
}

/// Traces and compiles every bucket of the plan with the SDK and seals the bundle. What is done when
/// it fails stays in the work folder, and the next run goes on from there.
pub fn for_neuron(
    compilation: &Compilation,
    neuron: &Neuron,
    target: Target,
    progress: &mut dyn FnMut(Progress),
) -> Result<Bundle> {
    let draft = Draft::start(target.place, target.existing)?;
    let dir = WorkDir::open(&neuron.work, &compilation.plan.key()?)?;
    let (folder, mut traced) =
        dir.traced(|folder| tracing::trace(compilation, folder, progress))?;
    let work = neuron::Work {
        dir: &dir,
        folder: &folder,
        traced: &traced,
    };
    neuron::compile(compilation, neuron, &work, progress)?;
    progress(Progress::Sealing);
    let sealed = draft.folder();
    link_folder(&folder, sealed)?;
    fs::remove_file(sealed.join(work_dir::DONE_FILE)).context("preparing the bundle")?;
    let artifacts = collect(&dir, &traced, sealed)?;
    let probed = &neuron.interpreter.probed;
    traced.versions.extend(probed.packages.clone());
    traced
        .versions
        .insert("python".to_owned(), probed.python.clone());
    let bundle = seal(compilation, draft, traced, artifacts)?;
    dir.remove()?;
    Ok(bundle)
}

/// Puts what the compilers made into the folder of the bundle.
fn collect(dir: &WorkDir, traced: &Traced, sealed: &Path) -> Result<Vec<Artifact>> {
    for folder in ["artifacts", "logs"] {
        files::create_folder(&sealed.join(folder))?;
    }
    let mut artifacts = Vec::new();
    for (bucket, graph) in &traced.graphs {
        let made = dir.bucket(*bucket);
        let (file, log) = neuron::names(*bucket);
        link(&made.artifact(), &sealed.join(&file))?;
        link(&made.log(), &sealed.join(&log))?;
        if made.analysis().is_file() {
            let name = format!("logs/{}.analysis.json", tracing::stem(*bucket));
            link(&made.analysis(), &sealed.join(name))?;
        }
        artifacts.push(Artifact {
            bucket: *bucket,
            file,
            graph: graph.clone(),
            log: Some(log),
        });
    }
    Ok(artifacts)
}

fn seal(
    compilation: &Compilation,
    draft: Draft,
    traced: Traced,
    artifacts: Vec<Artifact>,
) -> Result<Bundle> {
    let plan = compilation.plan;
    let coverage = coverage::of(plan, compilation.profile, &artifacts, draft.folder())?;
    files::write_json(&draft.folder().join(COVERAGE_FILE), &coverage)?;
    let profile = compilation.profile.clone();
    let mut manifest = Manifest::new(plan.clone(), plan.key()?, profile, traced.output);
    manifest.executor = traced.versions;
    manifest.artifacts = artifacts;
    manifest.weight_names = traced.weight_names;
    manifest.mask_token = traced.mask_token;
    draft.seal(manifest)
}

/// Every file below `from`, at the same name below `to`.
fn link_folder(from: &Path, to: &Path) -> Result<()> {
    files::create_folder(to)?;
    for name in files::list(from)? {
        let (source, place) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            link_folder(&source, &place)?
        } else {
            link(&source, &place)?
        }
    }
    Ok(())
}

/// A second name for a file, or a copy where the file system has none: the work folder is removed
/// when the bundle is sealed, and a model's weights are not copied for nothing.
fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => files::copy(from, to),
    }
}
