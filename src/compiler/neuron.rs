//! Compiles for a Neuron chip: each bucket in a process of the SDK's interpreter, as many at a time as
//! memory allows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context as _, Result};

use crate::arguments;
use crate::bucket::{Bucket, Row};
use crate::bundle::REFERENCE_ROWS_FILE;
use crate::checkpoint::Tracer;
use crate::command::{ChildLog, Program};
use crate::compiler::compilation::{Compilation, Neuron};
use crate::compiler::diagnostic::{self, Attempt};
use crate::compiler::dots::Dots;
use crate::compiler::lines::LineSplitter;
use crate::compiler::memory::{self, Budget};
use crate::compiler::progress::CompilationProgress;
use crate::compiler::tracing::{TracedGraphs, python_module, stem};
use crate::compiler::work_dir::{BucketDir, CompiledBucket, WorkDir};
use crate::executor::events::{Event, FailureClass};
use crate::executor::job::{CompileJob, Module, PROTOCOL, WEIGHTS_FILE};
use crate::executor::{interpreter, probe};
use crate::failure::{Class, Failure};
use crate::files;

/// The work folder of a compilation, and the traced files in it.
pub struct CompilationFiles<'a> {
    pub dir: &'a WorkDir,
    /// Graphs, weights and references.
    pub folder: &'a Path,
    pub traced: &'a TracedGraphs,
}

/// A message from a thread that waits for a compiler to the one that schedules them.
enum Message {
    Progress(CompilationProgress),
    Ended(Bucket, Result<CompiledBucket>),
}

/// Compiles every bucket that an earlier run has not compiled. When some fail, the others are finished
/// and kept, and the error names all failures.
pub fn compile(
    compilation: &Compilation,
    neuron: &Neuron,
    work: &CompilationFiles,
    progress: &mut dyn FnMut(CompilationProgress),
) -> Result<BTreeMap<Bucket, CompiledBucket>> {
    let mut compiled = BTreeMap::new();
    let mut waiting = Vec::new();
    for bucket in &compilation.plan.buckets {
        match work.dir.bucket(*bucket).compiled() {
            Some(kept) => {
                progress(CompilationProgress::Kept { bucket: *bucket });
                compiled.insert(*bucket, kept);
            }
            None => waiting.push(*bucket),
        }
    }
    let rows: Vec<Row> = files::load_json(&work.folder.join(REFERENCE_ROWS_FILE))?;
    let weights = std::fs::metadata(work.folder.join(WEIGHTS_FILE)).map_or(0, |file| file.len());
    let expected = probe::sdk_of(compilation.profile)?.compile_memory;
    let need = |bucket: &Bucket| memory::estimate(&expected, weights, *bucket);
    let copies = neuron.device.as_ref().map(|device| device.copies);
    let jobs = compilation.jobs.min(copies.unwrap_or(usize::MAX));
    let mut budget = Budget::new(neuron.memory, jobs);
    let mut failures = Vec::new();
    let (sender, messages) = mpsc::channel();
    thread::scope(|scope| -> Result<()> {
        let mut running = 0;
        loop {
            let needs: Vec<u64> = waiting.iter().map(need).collect();
            if let Some(index) = budget.next(&needs) {
                let bucket = waiting.remove(index);
                budget.start(needs[index]);
                running += 1;
                let (sender, rows) = (sender.clone(), &rows);
                scope.spawn(move || {
                    let tell = |progress| {
                        // Fails only when the scheduling thread is gone, which ends the process.
                        let _ = sender.send(Message::Progress(progress));
                    };
                    let ended = compile_bucket(compilation, neuron, work, (bucket, rows), &tell);
                    let _ = sender.send(Message::Ended(bucket, ended));
                });
                continue;
            }
            if running == 0 {
                return Ok(());
            }
            match messages.recv().context("waiting for a compilation")? {
                Message::Progress(what) => progress(what),
                Message::Ended(bucket, ended) => {
                    running -= 1;
                    budget.end(need(&bucket));
                    match ended {
                        Ok(done) => {
                            let millis = done.millis;
                            progress(CompilationProgress::Compiled { bucket, millis });
                            compiled.insert(bucket, done);
                        }
                        Err(error) => {
                            progress(CompilationProgress::Failed { bucket });
                            failures.push((bucket, error));
                        }
                    }
                }
            }
        }
    })?;
    if failures.is_empty() {
        Ok(compiled)
    } else {
        let kept: Vec<Bucket> = compiled.into_keys().collect();
        Err(diagnostic::all(failures, &kept))
    }
}

fn compile_bucket(
    compilation: &Compilation,
    neuron: &Neuron,
    work: &CompilationFiles,
    (bucket, rows): (Bucket, &[Row]),
    tell: &(dyn Fn(CompilationProgress) + Sync),
) -> Result<CompiledBucket> {
    let dir = work.dir.bucket(bucket);
    dir.start()?;
    let job = job(compilation, neuron, work, (bucket, rows))?;
    let text = serde_json::to_vec_pretty(&job)?;
    files::write(&dir.folder.join("job.json"), &text)?;
    let script = work.dir.script();
    let mut program =
        interpreter::program(&neuron.interpreter.path, &script, &dir.work(), "compile");
    let of_device = neuron.device.iter().flat_map(|device| &device.environment);
    let of_device = of_device.map(|(name, value)| ((*name).into(), value.into()));
    program.environment.extend(of_device);
    let rerun = write_rerun(&dir, &program)?;
    let dots = Dots::new();
    let lines = neuron.watch.map(|watch| LineSplitter::new(bucket, watch));
    let watch = |bytes: &[u8]| {
        if let Some(count) = dots.count(bytes) {
            tell(CompilationProgress::Dots { bucket, count });
        }
        if let Some(lines) = &lines {
            lines.take(bytes);
        }
    };
    let mut outcome = CompileReport::default();
    let log = dir.log();
    let ended = program.run(
        text,
        &ChildLog {
            path: &log,
            watch: Some(&watch),
        },
        neuron.deadline,
        &mut |line| outcome.take(line, tell),
    );
    let attempt = Attempt {
        bucket,
        log: &log,
        rerun: &rerun,
    };
    match (ended, outcome) {
        (
            Ok(()),
            CompileReport {
                artifact: Some((millis, ran)),
                done: true,
                failed: None,
            },
        ) if dir.artifact().is_file() => dir.finish(millis, ran),
        (ended, outcome) => Err(diagnostic::failure(&attempt, ended.err(), outcome.failed)),
    }
}

/// The events of one compilation so far.
#[derive(Debug, Default)]
struct CompileReport {
    /// Milliseconds of the compilation, and whether a device ran the artifact.
    artifact: Option<(u64, bool)>,
    done: bool,
    failed: Option<(FailureClass, String)>,
}

impl CompileReport {
    fn take(&mut self, line: &str, tell: &(dyn Fn(CompilationProgress) + Sync)) -> Result<()> {
        let event: Event = serde_json::from_str(line).with_context(|| {
            format!("the SDK's interpreter wrote a line that is not an event: `{line}`")
        })?;
        match event {
            Event::Started { protocol, .. } if protocol != PROTOCOL => {
                anyhow::bail!("the script speaks protocol {protocol}, this neuronc {PROTOCOL}")
            }
            Event::Stage { bucket, stage } => tell(CompilationProgress::Stage { bucket, stage }),
            Event::Artifact { millis, ran, .. } => self.artifact = Some((millis, ran)),
            Event::Failed { class, message } => self.failed = Some((class, message)),
            Event::Done => self.done = true,
            _ => {}
        }
        Ok(())
    }
}

fn job(
    compilation: &Compilation,
    neuron: &Neuron,
    work: &CompilationFiles,
    (bucket, rows): (Bucket, &[Row]),
) -> Result<CompileJob> {
    let plan = compilation.plan;
    let dir = work.dir.bucket(bucket);
    let fits = rows.iter().filter(|row| row.ids.len() <= bucket.sequence);
    let longest = fits.max_by_key(|row| row.ids.len());
    let example = longest.cloned().ok_or_else(|| {
        Failure::new(Class::Bug, format!("no reference row fits bucket {bucket}"))
    })?;
    Ok(CompileJob {
        protocol: PROTOCOL,
        compiler: plan.compiler,
        module: module(compilation, work, bucket)?,
        inputs: plan.inputs.clone(),
        pad_id: plan.pad_id,
        bucket,
        example,
        compiler_args: compiler_args(compilation),
        trace_options: arguments::trace_options(compilation.profile, &plan.arguments),
        device: neuron.device.is_some(),
        artifact: dir.artifact(),
        analysis: neuron.analyze.then(|| dir.analysis()),
        work: dir.work(),
    })
}

/// The words for the compiler: its name of the chip as `--target`, then every argument.
pub fn compiler_args(compilation: &Compilation) -> Vec<String> {
    let target = compilation.profile.compiler.target.iter();
    let mut words: Vec<String> = target
        .flat_map(|target| ["--target".to_owned(), target.clone()])
        .collect();
    let arguments = &compilation.plan.arguments;
    words.extend(arguments::command_line(compilation.profile, arguments));
    words
}

/// The module to compile: a model that Python loads as it is, else a graph, which gets its weights back
/// first.
fn module(compilation: &Compilation, work: &CompilationFiles, bucket: Bucket) -> Result<Module> {
    match compilation.plan.tracer {
        Tracer::Transformers { .. } | Tracer::Torchscript { .. } => {
            return python_module(compilation);
        }
        Tracer::Native { .. } => {}
    }
    let graph = work
        .traced
        .graph(bucket)
        .ok_or_else(|| Failure::new(Class::Bug, format!("bucket {bucket} has no graph")))?;
    Ok(Module::Graph {
        file: files::inside(work.folder, graph)?,
        weights: work.folder.join(WEIGHTS_FILE),
        weight_names: work.traced.weight_names.clone(),
    })
}

/// Writes a shell script that repeats this one compilation with the same environment and arguments.
fn write_rerun(dir: &BucketDir, program: &Program) -> Result<PathBuf> {
    let quoted = |text: &std::ffi::OsStr| {
        let text = text.to_string_lossy().replace('\'', r"'\''");
        format!("'{text}'")
    };
    let mut words = vec!["exec env -i".to_owned()];
    for (name, value) in &program.environment {
        words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
    }
    words.push(quoted(program.path.as_os_str()));
    words.extend(program.args.iter().map(|argument| quoted(argument)));
    let path = dir.folder.join("rerun.sh");
    let text = format!(
        "#!/bin/sh\n# Runs this one compilation again: events on stdout, the compiler's log on stderr.\n\
         cd {} && mkdir -p work &&\n{} < job.json\n",
        quoted(dir.folder.as_os_str()),
        words.join(" \\\n  ")
    );
    files::write(&path, text.as_bytes())?;
    Ok(path)
}

/// The names of the artifact and the log of a bucket in a bundle.
pub fn names(bucket: Bucket) -> (String, String) {
    let stem = stem(bucket);
    (format!("artifacts/{stem}.pt"), format!("logs/{stem}.log"))
}
