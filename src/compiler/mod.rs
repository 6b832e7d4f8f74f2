//! The compiler: from a plan and a model's files to a sealed bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::bucket::{Bucket, Row};
use crate::bundle::draft::{Draft, Existing};
use crate::bundle::manifest::{Artifact, Manifest};
use crate::bundle::{Bundle, COVERAGE_FILE, REFERENCE_ROWS_FILE};
use crate::command::{CommandError, Program};
use crate::coverage::{BucketCoverage, Coverage, SCHEMA_VERSION, census};
use crate::executor::events::{Event, FailureClass};
use crate::executor::job::{GraphJob, PROTOCOL, TraceJob};
use crate::failure::{Class, Failure};
use crate::family::Family;
use crate::family::weights::{self, WeightSource};
use crate::files;
use crate::plan::{LIBTORCH_VERSION, Plan};
use crate::reference;
use crate::tokenizer::{TOKENIZER_FILE, Tokenizer};

/// The executor's log, kept in the bundle.
const LOG_FILE: &str = "executor.log";

/// A plan with the places of everything it needs.
#[derive(Debug)]
pub struct Compilation<'a> {
    pub plan: &'a Plan,
    /// The folder of the model's files.
    pub model: &'a Path,
    /// The safetensors files below it.
    pub weight_files: &'a [String],
    pub executor: Program,
    pub place: &'a Path,
    pub existing: Existing,
    /// Buckets that are traced at the same time.
    pub jobs: usize,
    /// The executor is stopped when it takes longer.
    pub deadline: Duration,
}

/// What happens during a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The executor has the weights and begins to trace.
    Tracing,
    /// One more bucket is traced.
    Traced { bucket: Bucket, millis: u64 },
    /// All files are there; their hashes are taken.
    Sealing,
}

/// Compiles every bucket of the plan and seals the bundle. Leaves nothing behind when it fails.
pub fn compile(compilation: &Compilation, progress: &mut dyn FnMut(Progress)) -> Result<Bundle> {
    let plan = compilation.plan;
    let paths: Vec<PathBuf> = compilation
        .weight_files
        .iter()
        .map(|name| files::inside(compilation.model, name))
        .collect::<Result<_>>()?;
    let family = native_family(plan)?;
    let sources = weights::find(&family.weights(&plan.head), &paths)?;
    let tokenizer = Tokenizer::open(compilation.model)?;
    let draft = Draft::start(compilation.place, compilation.existing)?;
    let rows = reference::rows(plan, &tokenizer)?;
    let folder = draft.folder();
    files::write(
        &folder.join(TOKENIZER_FILE),
        tokenizer.to_json()?.as_bytes(),
    )?;
    files::write_json(&folder.join(REFERENCE_ROWS_FILE), &rows)?;
    files::create_folder(&folder.join("graphs"))?;

    let job = trace_job(compilation, sources, rows, folder)?;
    let outcome = run_executor(compilation, &job, progress)?;
    progress(Progress::Sealing);
    let coverage = coverage(plan, &job, folder)?;
    files::write_json(&folder.join(COVERAGE_FILE), &coverage)?;

    let mut manifest = Manifest::new(plan.clone(), plan.key()?);
    manifest.executor = outcome.versions;
    manifest.artifacts = job
        .graphs
        .into_iter()
        .map(|GraphJob { bucket, file, .. }| Artifact {
            bucket,
            graph: file.clone(),
            file,
            log: None,
        })
        .collect();
    manifest.weight_names = outcome.weight_names;
    draft.seal(manifest)
}

fn trace_job(
    compilation: &Compilation,
    weights: Vec<WeightSource>,
    references: Vec<Row>,
    folder: &Path,
) -> Result<TraceJob> {
    let plan = compilation.plan;
    if plan.self_contained {
        files::create_folder(&folder.join("self-contained"))?;
    }
    let graph = |bucket: &Bucket| {
        let name = format!("b{}_s{}.pt", bucket.batch, bucket.sequence);
        GraphJob {
            bucket: *bucket,
            self_contained: plan
                .self_contained
                .then(|| format!("self-contained/{name}")),
            file: format!("graphs/{name}"),
        }
    };
    Ok(TraceJob {
        protocol: PROTOCOL,
        family: native_family(plan)?.clone(),
        head: plan.head.clone(),
        attention: plan.attention,
        cast: plan.cast,
        weights,
        inputs: plan.inputs.clone(),
        graphs: plan.buckets.iter().map(graph).collect(),
        references,
        jobs: compilation.jobs,
        folder: folder.to_owned(),
    })
}

fn native_family(plan: &Plan) -> Result<&Family> {
    let unknown = || Failure::new(Class::Bug, "this tracer needs no family").into();
    plan.tracer.family().ok_or_else(unknown)
}

/// What an executor reported.
#[derive(Default)]
struct Outcome {
    versions: BTreeMap<String, String>,
    weight_names: Vec<String>,
    done: bool,
}

/// Runs the job to its end.
fn run_executor(
    compilation: &Compilation,
    job: &TraceJob,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    let log = job.folder.join(LOG_FILE);
    let mut program = compilation.executor.clone();
    program.args.push("trace".into());
    let input = serde_json::to_vec(job)?;
    let mut outcome = Outcome::default();
    let mut on_line = |line: &str| -> Result<()> {
        let event: Event = serde_json::from_str(line)
            .with_context(|| format!("the executor wrote a line that is not an event: `{line}`"))?;
        match event {
            Event::Started {
                protocol,
                executor,
                versions: reported,
            } => {
                check_executor(protocol, &reported)?;
                outcome.versions.extend(reported);
                outcome.versions.insert("executor".to_owned(), executor);
            }
            Event::Weights { names, .. } => {
                outcome.weight_names = names;
                progress(Progress::Tracing);
            }
            Event::Graph { bucket, millis } => progress(Progress::Traced { bucket, millis }),
            Event::Failed { class, message } => return Err(reported_failure(class, message).into()),
            Event::Done => outcome.done = true,
            _ => {}
        }
        Ok(())
    };
    program
        .run(input, &log, compilation.deadline, &mut on_line)
        .map_err(executor_failure)?;
    if !outcome.done {
        return Err(Failure::new(
            Class::Compilation,
            "the executor ended without finishing its job",
        )
        .why(crate::command::tail(&log, 20).join("\n"))
        .into());
    }
    Ok(outcome)
}

fn check_executor(protocol: u32, versions: &[(String, String)]) -> Result<()> {
    let libtorch = versions
        .iter()
        .find(|(name, _)| name == "libtorch")
        .map(|(_, version)| version.as_str());
    let libtorch_fits =
        libtorch.is_none_or(|version| version.split('+').next() == Some(LIBTORCH_VERSION));
    if protocol == PROTOCOL && libtorch_fits {
        return Ok(());
    }
    Err(Failure::new(Class::Executor, "the executor does not belong to this neuronc")
        .why(format!(
            "it speaks protocol {protocol} with libtorch {}; needed are {PROTOCOL} and {LIBTORCH_VERSION}",
            libtorch.unwrap_or("of an unknown version")
        ))
        .help("install both programs of one release into one folder")
        .into())
}

fn reported_failure(class: FailureClass, message: String) -> Failure {
    match class {
        FailureClass::Input => Failure::usage("the model cannot be traced").why(message),
        FailureClass::Resources => {
            Failure::new(Class::Resources, "memory or disk ran out while tracing")
                .why(message)
                .help("free some, or trace fewer or smaller buckets at once")
        }
        FailureClass::Framework | FailureClass::Compiler => {
            Failure::new(Class::Compilation, "tracing failed").why(message)
        }
        FailureClass::Sdk | FailureClass::Device => {
            Failure::new(Class::Executor, "the executor cannot do its work").why(message)
        }
    }
}

/// Gives the failure of the child process the class that its kind implies.
fn executor_failure(error: anyhow::Error) -> anyhow::Error {
    let class = match error.downcast_ref::<CommandError>() {
        Some(CommandError::NotFound { .. } | CommandError::CouldNotStart { .. }) => Class::Executor,
        Some(CommandError::Killed { signal: 9, .. }) => Class::Resources,
        Some(_) => Class::Compilation,
        None => return error,
    };
    Failure::new(class, "the executor failed")
        .why(error.to_string())
        .into()
}

fn coverage(plan: &Plan, job: &TraceJob, folder: &Path) -> Result<Coverage> {
    let buckets = job.graphs.iter().map(|graph| {
        let operators = census::count(&folder.join(&graph.file))?;
        Ok(BucketCoverage::all_on_chip(graph.bucket, operators))
    });
    Ok(Coverage {
        schema_version: SCHEMA_VERSION,
        model: plan.name.clone(),
        chip: plan.chip.clone(),
        buckets: buckets.collect::<Result<_>>()?,
    })
}
