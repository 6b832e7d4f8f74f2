//! The tracer: from a job to weights, reference outputs and graphs in the job's folder.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use neuronc::bucket::{Bucket, Row, fill};
use neuronc::executor::events::Event;
use neuronc::executor::job::{
    GraphJob, PROTOCOL, REFERENCE_FILE, TraceJob, WEIGHTS_FILE, reference_stride,
};
use neuronc::files;
use neuronc::profile::Attention;
use neuronc::tensor::{HostTensor, Layout};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::cast::Numerics;
use crate::failure::{class_of, message_of};
use crate::graph::{Bound, WeightsAre};
use crate::mapped::MappedFile;
use crate::model::Forward;
use crate::store::{self, Entry};
use crate::tensors::{bytes_as, dimensions, dtype_of, to_host, to_torch};

/// Graphs are compared with their forward up to this many tokens, and the smallest one always: a
/// larger one differs in nothing but numbers, and `verify` runs them all.
const CHECKED_TOKENS_MAX: usize = 256;

/// Does the job that is read from `job` and reports to `events`. A failure is both reported and
/// returned.
pub fn run(job: impl Read, mut events: impl Write) -> Result<()> {
    let mut report = |event: &Event| -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        events.write_all(&line).context("reporting an event")?;
        events.flush().context("reporting an event")
    };
    report(&Event::Started {
        protocol: PROTOCOL,
        executor: env!("CARGO_PKG_NAME").to_owned(),
        versions: vec![("libtorch".to_owned(), crate::LIBTORCH_VERSION.to_owned())],
    })?;
    let result = read(job).and_then(|job| perform(&job, &mut report));
    match &result {
        Ok(()) => report(&Event::Done)?,
        Err(error) => report(&Event::Failed {
            class: class_of(error),
            message: message_of(error),
        })?,
    }
    result
}

/// Reads a job and checks what its types do not say.
fn read(job: impl Read) -> Result<TraceJob> {
    let job: Value = serde_json::from_reader(job).context("the job is not JSON")?;
    let protocol = &job["protocol"];
    ensure!(
        protocol.as_u64() == Some(u64::from(PROTOCOL)),
        "the job is of protocol {protocol}, this executor speaks {PROTOCOL}"
    );
    let job: TraceJob = serde_json::from_value(job).context("the job is not the expected JSON")?;
    let expected = job.spec.weights();
    let names = expected.iter().map(|weight| &weight.name);
    ensure!(
        names.eq(job.weights.iter().map(|weight| &weight.name)),
        "the job lists other weights than the forward takes"
    );
    ensure!(
        job.inputs == job.spec.inputs(),
        "the job lists other inputs than the forward takes"
    );
    ensure!(
        job.output == job.spec.output(),
        "the job lists another output than the forward returns"
    );
    let positions = job.spec.encoder.tokens_max();
    for Bucket { sequence, batch } in job.graphs.iter().map(|graph| graph.bucket) {
        ensure!(
            sequence > 0 && batch > 0,
            "a bucket of {batch}x{sequence} holds nothing"
        );
        ensure!(
            sequence <= positions,
            "a sequence of {sequence} exceeds the {positions} positions of the model"
        );
    }
    for (index, Row { ids, type_ids, .. }) in job.references.iter().enumerate() {
        let fits = (1..=positions).contains(&ids.len()) && ids.len() == type_ids.len();
        ensure!(
            fits,
            "reference row {index} has {} ids and {} segments",
            ids.len(),
            type_ids.len()
        );
    }
    Ok(job)
}

fn perform(job: &TraceJob, report: &mut dyn FnMut(&Event) -> Result<()>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let names: Vec<String> = job
        .weights
        .iter()
        .map(|weight| weight.name.clone())
        .collect();
    let sources = load_sources(job)?;

    let reference = Forward {
        spec: job.spec.clone(),
        attention: Attention::Explicit,
        numerics: Numerics::FP32,
    };
    let bound = bind(job, &reference, &names, &sources);
    let rows = write_references(job, &bound)?;
    let output = bound.output;
    report(&Event::References { rows, output })?;

    let model = Forward {
        attention: job.attention,
        numerics: Numerics::of(job.cast),
        ..reference.clone()
    };
    let bytes = write_weights(job, model.numerics, &sources)?;
    report(&Event::Weights {
        bytes,
        names: names.clone(),
    })?;
    // Weights that were not fp32 were copied; the file takes their place.
    drop(sources);

    write_graphs(job, &model, &names, report)
}

fn bind<'a>(
    job: &'a TraceJob,
    model: &'a Forward,
    names: &'a [String],
    weights: &'a [Tensor],
) -> Bound<'a> {
    Bound {
        model,
        names,
        weights,
        inputs: &job.inputs,
        output: job.output,
    }
}

/// The weights of the checkpoint in fp32, in the order of the job.
fn load_sources(job: &TraceJob) -> Result<Vec<Tensor>> {
    let mut files: BTreeMap<&Path, MappedFile> = BTreeMap::new();
    let mut tensors = Vec::with_capacity(job.weights.len());
    for (weight, expected) in job.weights.iter().zip(job.spec.weights()) {
        let path = weight.file.as_path();
        if !files.contains_key(path) {
            files.insert(path, MappedFile::open(path)?);
        }
        let tensor = files[path].tensor(&weight.tensor)?;
        ensure!(
            tensor.size() == dimensions(&expected.shape)?,
            "weight `{}` is {:?} in `{}`, the forward takes {:?}",
            weight.tensor,
            tensor.size(),
            path.display(),
            expected.shape
        );
        tensors.push(tensor.f_to_kind(Kind::Float)?);
    }
    Ok(tensors)
}

/// Runs each reference row alone and without padding; returns their number.
fn write_references(job: &TraceJob, bound: &Bound) -> Result<usize> {
    let mut outputs = Vec::with_capacity(job.references.len());
    for (index, row) in job.references.iter().enumerate() {
        let context = || format!("computing reference output {index}");
        let bucket = Bucket {
            batch: 1,
            sequence: row.ids.len(),
        };
        let inputs = fill(bucket, &[row], &job.inputs, job.spec.encoder.pad_id)?;
        let inputs: Vec<Tensor> = inputs.iter().map(to_torch).collect::<Result<_>>()?;
        let output = to_host(&bound.forward(bucket, &inputs).with_context(context)?)?;
        outputs.push(sample(&output)?);
    }
    let entries: Vec<Entry> = outputs
        .iter()
        .enumerate()
        .map(|(index, output)| Entry {
            name: index.to_string(),
            layout: output.layout().clone(),
        })
        .collect();
    let path = job.folder.join(REFERENCE_FILE);
    store::write(&path, &entries, &mut |index| {
        Ok(outputs[index].bytes().to_vec())
    })?;
    Ok(outputs.len())
}

/// Every so many values of `output` that few enough are left.
fn sample(output: &HostTensor) -> Result<HostTensor> {
    let values = output.to_f32()?;
    let kept: Vec<f32> = values
        .iter()
        .copied()
        .step_by(reference_stride(values.len()))
        .collect();
    HostTensor::from_f32(&[kept.len()], &kept)
}

/// Writes the weights of the bundle in the types of `numerics`; returns the size of the file.
fn write_weights(job: &TraceJob, numerics: Numerics, sources: &[Tensor]) -> Result<u64> {
    let kinds: Vec<Kind> = job
        .weights
        .iter()
        .map(|weight| numerics.stored(weight.used_as))
        .collect();
    let mut entries = Vec::with_capacity(sources.len());
    for ((weight, expected), kind) in job.weights.iter().zip(job.spec.weights()).zip(&kinds) {
        entries.push(Entry {
            name: weight.name.clone(),
            layout: Layout {
                dtype: dtype_of(*kind)?,
                shape: expected.shape,
            },
        });
    }
    let path = job.folder.join(WEIGHTS_FILE);
    store::write(&path, &entries, &mut |index| {
        bytes_as(&sources[index], kinds[index])
    })
}

/// Traces `job.jobs` graphs at a time, each with its share of the processors; the first failure ends
/// all.
fn write_graphs(
    job: &TraceJob,
    model: &Forward,
    names: &[String],
    report: &mut dyn FnMut(&Event) -> Result<()>,
) -> Result<()> {
    let file = MappedFile::open(&job.folder.join(WEIGHTS_FILE))?;
    let jobs = job.jobs.max(1);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = i32::try_from((processors / jobs).max(1))?;
    let next = AtomicUsize::new(0);
    let (sender, outcomes) = mpsc::channel();
    let work = |outcomes: &mpsc::Sender<Result<Event>>| -> Result<()> {
        // All of these hold for the thread that calls them.
        let _no_grad = tch::no_grad_guard();
        tch::jit::f_set_graph_executor_optimize(false)?;
        tch::set_num_threads(threads);
        let weights: Vec<Tensor> = names
            .iter()
            .map(|name| file.tensor(name))
            .collect::<Result<_>>()?;
        let bound = bind(job, model, names, &weights);
        while let Some(graph) = job.graphs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            write_graph(job, graph, &bound)?;
            let bucket = graph.bucket;
            let millis = u64::try_from(start.elapsed().as_millis())?;
            if outcomes.send(Ok(Event::Graph { bucket, millis })).is_err() {
                break;
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..jobs.min(job.graphs.len()) {
            let sender = sender.clone();
            let work = &work;
            scope.spawn(move || {
                if let Err(error) = work(&sender) {
                    // Nobody listens when another graph failed before.
                    let _ = sender.send(Err(error));
                }
            });
        }
        drop(sender);
        // Leaving this loop drops the receiver, which tells the other threads to end.
        outcomes
            .into_iter()
            .try_for_each(|outcome| report(&outcome?))
    })
}

fn write_graph(job: &TraceJob, graph: &GraphJob, bound: &Bound) -> Result<()> {
    let tokens = |bucket: Bucket| bucket.batch * bucket.sequence;
    let smallest = job.graphs.iter().map(|graph| tokens(graph.bucket)).min();
    let checked = tokens(graph.bucket) <= smallest.unwrap_or(0).max(CHECKED_TOKENS_MAX);
    let forms = [
        (Some(&graph.file), WeightsAre::Inputs),
        (graph.self_contained.as_ref(), WeightsAre::Constants),
    ];
    for (name, weights_are) in forms {
        let Some(name) = name else { continue };
        let path = files::inside(&job.folder, name)?;
        files::create_folder(path.parent().unwrap_or(&job.folder))?;
        let traced = bound.trace(graph.bucket, &path, weights_are)?;
        if checked {
            bound.check(graph.bucket, &traced, weights_are)?;
        }
    }
    Ok(())
}
