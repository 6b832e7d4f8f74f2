//! Traces: from a plan and a model's files to graphs, weights and reference outputs in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Row};
use crate::bundle::REFERENCE_ROWS_FILE;
use crate::checkpoint::Tracer;
use crate::command::{ChildLog, CommandError, Program};
use crate::compiler::compilation::{Compilation, TracerProgram};
use crate::compiler::progress::CompilationProgress;
use crate::executor::events::{Event, FailureClass};
use crate::executor::interpreter::{self, Interpreter, Script};
use crate::executor::job::{GraphJob, Module, ModuleTraceJob, PROTOCOL, TraceJob};
use crate::failure::{Class, Failure};
use crate::family::{ModelSpec, weights};
use crate::files;
use crate::plan::{LIBTORCH_VERSION, Plan};
use crate::recipe::Task;
use crate::reference;
use crate::sample::output::{OutputLayout, PlannedOutput};
use crate::tokenizer::{TOKENIZER_FILE, Tokenizer};

/// The executor's log, kept in the bundle.
const LOG_FILE: &str = "executor.log";

/// The graphs that were traced; with the files they are the result of tracing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TracedGraphs {
    /// The executor that traced, and the versions that it reported.
    pub versions: BTreeMap<String, String>,
    /// The order in which every graph takes the weights.
    pub weight_names: Vec<String>,
    pub graphs: Vec<(Bucket, String)>,
    /// The layout of what every graph returns.
    pub output: OutputLayout,
    /// Fill-mask only: the token that stands for a word to fill in.
    pub mask_token: Option<String>,
}

/// What an executor reported of a trace that it finished.
#[derive(Debug, Default)]
struct TraceReport {
    versions: BTreeMap<String, String>,
    weight_names: Vec<String>,
    output: Option<OutputLayout>,
}

impl TracedGraphs {
    /// Path of a bucket's graph, relative to the folder.
    pub fn graph(&self, bucket: Bucket) -> Option<&str> {
        let found = self.graphs.iter().find(|(known, _)| *known == bucket);
        found.map(|(_, file)| file.as_str())
    }
}

/// The name of a bucket in file names, such as `b8_s128`.
pub fn stem(bucket: Bucket) -> String {
    format!("b{}_s{}", bucket.batch, bucket.sequence)
}

/// Traces every bucket of the plan into `folder`.
pub fn trace(
    compilation: &Compilation,
    folder: &Path,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<TracedGraphs> {
    let plan = compilation.plan;
    let tokenizer = Tokenizer::open(compilation.model)?;
    let rows = reference::rows(plan, &tokenizer)?;
    files::write(
        &folder.join(TOKENIZER_FILE),
        tokenizer.to_json()?.as_bytes(),
    )?;
    files::write_json(&folder.join(REFERENCE_ROWS_FILE), &rows)?;
    files::create_folder(&folder.join("graphs"))?;
    let graphs = graph_jobs(plan, folder)?;
    let named = graphs.iter().map(|job| (job.bucket, job.file.clone()));
    let named = named.collect();
    let report = match (&plan.tracer, &compilation.tracer) {
        (Tracer::Native { spec }, TracerProgram::Torch(program)) => {
            let job = native_job(compilation, spec, (graphs, rows), folder)?;
            let mut program = program.clone();
            program.args.push("trace".into());
            run(
                compilation,
                &program,
                serde_json::to_vec(&job)?,
                folder,
                progress,
            )?
        }
        (
            Tracer::Transformers { .. } | Tracer::Torchscript { .. },
            TracerProgram::Python(interpreter),
        ) => {
            let job = module_job(compilation, (graphs, rows), folder)?;
            let job = serde_json::to_vec(&job)?;
            run_python(compilation, interpreter, job, folder, progress)?
        }
        (tracer, tool) => anyhow::bail!("{tracer:?} does not trace with {tool:?}"),
    };
    let fills_masks = plan.head.task() == Task::FillMask;
    Ok(TracedGraphs {
        output: checked_output(plan.output, report.output)?,
        versions: report.versions,
        weight_names: report.weight_names,
        graphs: named,
        mask_token: if fills_masks {
            Some(reference::mask(&tokenizer)?.text.clone())
        } else {
            None
        },
    })
}

/// The layout that an executor reported; fails unless it is the planned one.
fn checked_output(planned: PlannedOutput, found: Option<OutputLayout>) -> Result<OutputLayout> {
    let layout = found.context("the executor did not say what the graphs return")?;
    if !planned.allows(&layout) {
        let what = format!("the graphs return {layout}, and the plan says {planned}");
        return Err(Failure::new(Class::Bug, what).into());
    }
    Ok(layout)
}

fn graph_jobs(plan: &Plan, folder: &Path) -> Result<Vec<GraphJob>> {
    if plan.self_contained {
        files::create_folder(&folder.join("self-contained"))?;
    }
    let graph = |bucket: &Bucket| {
        let name = format!("{}.pt", stem(*bucket));
        GraphJob {
            bucket: *bucket,
            self_contained: plan
                .self_contained
                .then(|| format!("self-contained/{name}")),
            file: format!("graphs/{name}"),
        }
    };
    Ok(plan.buckets.iter().map(graph).collect())
}

fn native_job(
    compilation: &Compilation,
    spec: &ModelSpec,
    (graphs, references): (Vec<GraphJob>, Vec<Row>),
    folder: &Path,
) -> Result<TraceJob> {
    let plan = compilation.plan;
    let paths: Vec<PathBuf> = compilation
        .weight_files
        .iter()
        .map(|name| files::inside(compilation.model, name))
        .collect::<Result<_>>()?;
    Ok(TraceJob {
        protocol: PROTOCOL,
        spec: spec.clone(),
        attention: plan.attention,
        cast: plan.cast,
        weights: weights::find(&spec.weights(), &paths)?,
        inputs: plan.inputs.clone(),
        output: spec.output(),
        graphs,
        references,
        jobs: compilation.jobs,
        folder: folder.to_owned(),
    })
}

fn module_job(
    compilation: &Compilation,
    (graphs, references): (Vec<GraphJob>, Vec<Row>),
    folder: &Path,
) -> Result<ModuleTraceJob> {
    let plan = compilation.plan;
    Ok(ModuleTraceJob {
        protocol: PROTOCOL,
        module: python_module(compilation)?,
        inputs: plan.inputs.clone(),
        pad_id: plan.pad_id,
        output: plan.output,
        graphs,
        references,
        folder: folder.to_owned(),
    })
}

/// The model as Python loads it by itself.
pub fn python_module(compilation: &Compilation) -> Result<Module> {
    let plan = compilation.plan;
    match &plan.tracer {
        Tracer::Transformers { .. } => Ok(Module::Transformers {
            folder: compilation.model.to_owned(),
            head: plan.head.clone(),
            attention: plan.attention,
        }),
        Tracer::Torchscript { file } => Ok(Module::Torchscript {
            file: files::inside(compilation.model, file)?,
            head: plan.head.clone(),
        }),
        Tracer::Native { .. } => Err(Failure::new(
            Class::Bug,
            "a model of a native family is not traced by Python",
        )
        .into()),
    }
}

fn run_python(
    compilation: &Compilation,
    interpreter: &Interpreter,
    job: Vec<u8>,
    folder: &Path,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<TraceReport> {
    let temporary = tempfile::tempdir_in(compilation.temporary)?;
    let script = Script::write(temporary.path())?;
    let work = temporary.path();
    let program = interpreter::program(&interpreter.path, script.folder(), work, "trace");
    run(compilation, &program, job, folder, progress)
}

/// Runs a tracing job and collects its events.
fn run(
    compilation: &Compilation,
    program: &Program,
    job: Vec<u8>,
    folder: &Path,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<TraceReport> {
    let log = folder.join(LOG_FILE);
    let mut report = TraceReport::default();
    let mut done = false;
    let mut on_line = |line: &str| -> Result<()> {
        let event: Event = serde_json::from_str(line)
            .with_context(|| format!("the executor wrote a line that is not an event: `{line}`"))?;
        match event {
            Event::Started {
                protocol,
                executor,
                versions,
            } => {
                check_executor(protocol, &versions)?;
                report.versions.extend(versions);
                report.versions.insert("executor".to_owned(), executor);
            }
            Event::Weights { names, .. } => {
                report.weight_names = names;
                progress(CompilationProgress::Tracing);
            }
            Event::References { output, .. } => report.output = Some(output),
            Event::Graph { bucket, millis } => {
                progress(CompilationProgress::Traced { bucket, millis })
            }
            Event::Failed { class, message } => return Err(reported_failure(class, message).into()),
            Event::Done => done = true,
            _ => {}
        }
        Ok(())
    };
    program
        .run(
            job,
            &ChildLog::file(&log),
            compilation.trace_deadline,
            &mut on_line,
        )
        .map_err(|error| executor_failure("the executor failed", error))?;
    if !done {
        return Err(Failure::new(
            Class::Compilation,
            "the executor ended without finishing its job",
        )
        .why(crate::command::tail(&log, 20).join("\n"))
        .into());
    }
    Ok(report)
}

/// Refuses an executor of another protocol or libtorch. Workers load graphs with the libtorch of
/// `neuronc-torch`, and one that a newer torch has traced may not load.
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

/// Wraps the failure `what` of a child process in the class that its kind implies.
pub fn executor_failure(what: &str, error: anyhow::Error) -> anyhow::Error {
    let class = match error.downcast_ref::<CommandError>() {
        Some(CommandError::NotFound { .. } | CommandError::CouldNotStart { .. }) => Class::Executor,
        Some(CommandError::Killed { signal: 9, .. }) => Class::Resources,
        Some(_) => Class::Compilation,
        None => return error,
    };
    Failure::new(class, what).why(error.to_string()).into()
}
