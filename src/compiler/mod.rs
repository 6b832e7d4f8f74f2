//! The compiler: from a plan and a model's files to a sealed bundle.
//!
//! [`tracing`] makes graphs, weights and references. On cpu the graphs are the artifacts; for a Neuron
//! chip [`neuron`] has the SDK compile each, in a [`work_dir`] that outlives a failure.

pub mod compilation;
mod coverage;
pub mod diagnostic;
mod dots;
mod lines;
pub mod memory;
pub mod neuron;
pub mod progress;
pub mod tracing;
pub mod work_dir;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::bucket::Bucket;
use crate::bundle::draft::Draft;
use crate::bundle::manifest::{Artifact, Manifest};
use crate::bundle::{Bundle, COVERAGE_FILE};
use crate::compiler::compilation::{BundleTarget, Compilation, Neuron};
use crate::compiler::neuron::CompilationFiles;
use crate::compiler::progress::CompilationProgress;
use crate::compiler::tracing::TracedGraphs;
use crate::compiler::work_dir::WorkDir;
use crate::files;

/// Traces every bucket of the plan for libtorch on the host and seals the bundle. A failure leaves
/// nothing behind.
pub fn for_host(
    compilation: &Compilation,
    target: BundleTarget,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<Bundle> {
    let draft = Draft::start(target.place, target.existing)?;
    let traced = tracing::trace(compilation, draft.folder(), progress)?;
    progress(CompilationProgress::Sealing);
    let artifact = |(bucket, file): &(Bucket, String)| Artifact {
        bucket: *bucket,
        graph: file.clone(),
        file: file.clone(),
        log: None,
    };
    let artifacts = traced.graphs.iter().map(artifact).collect();
    seal(compilation, draft, traced, artifacts)
}

/// Traces and compiles every bucket of the plan with the SDK and seals the bundle. After a failure the
/// finished buckets stay in the work folder, and the next run continues from there.
pub fn for_neuron(
    compilation: &Compilation,
    neuron: &Neuron,
    target: BundleTarget,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<Bundle> {
    let draft = Draft::start(target.place, target.existing)?;
    let dir = WorkDir::open(&neuron.work, &compilation.plan.key()?)?;
    let (folder, mut traced) =
        dir.traced(|folder| tracing::trace(compilation, folder, progress))?;
    let made = CompilationFiles {
        dir: &dir,
        folder: &folder,
        traced: &traced,
    };
    neuron::compile(compilation, neuron, &made, progress)?;
    progress(CompilationProgress::Sealing);
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

/// Links artifacts and logs into the folder of the bundle.
fn collect(dir: &WorkDir, traced: &TracedGraphs, sealed: &Path) -> Result<Vec<Artifact>> {
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
    traced: TracedGraphs,
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

/// Links every file below `from` to the same name below `to`.
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

/// Makes a hard link, or a copy where the file system has none. The work folder is removed when the
/// bundle is sealed, so that copying the weights would be wasted.
fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => files::copy(from, to),
    }
}
