//! The worker: loads the graphs of each bundle over one copy of its weights and runs them on request.
//!
//! One thread answers frames in their order; operators use as many threads as the first frame says.

use std::io::BufReader;
use std::mem;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use neuronc::bucket::Bucket;
use neuronc::executor::job::PROTOCOL;
use neuronc::executor::wire::{self, Artifact, Load, Reply, Request};
use neuronc::tensor::{Dtype, HostTensor};
use tch::Tensor;

use crate::failure::message_of;
use crate::mapped::MappedFile;
use crate::packed::{Graph, Packed};
use crate::plugin;
use crate::start_pages;
use crate::tensors::{to_host, to_torch};

/// No operator gets more threads than this.
const THREADS_MAX: usize = 1024;

/// Answers the requests of `stream` until its peer closes it. Fails when the peer does not keep to
/// the protocol or what it names cannot be loaded, after telling it why. At most one call in a
/// process.
pub fn run(mut stream: UnixStream) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    // The optimiser has nothing to gain here: it specialises each graph in its first two runs, which
    // take twice as long, and keeps the results in memory.
    tch::jit::f_set_graph_executor_optimize(false)?;
    tch::set_num_interop_threads(1);
    let mut requests = BufReader::new(stream.try_clone().context("sharing the socket")?);
    let mut loaded = Artifacts::default();
    loop {
        let frame = match wire::receive(&mut requests) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => return fail(&mut stream, error),
        };
        match frame.message {
            Request::Load(load) => {
                let is_first = loaded.artifacts.is_empty();
                match loaded.load(&load) {
                    Ok(()) => wire::send(&mut stream, &Reply::Loaded, &[])?,
                    Err(error) if is_first => return fail(&mut stream, error),
                    Err(error) => tell(&mut stream, &error)?,
                }
            }
            Request::Unload { first, count } => {
                loaded.unload(first, count);
                wire::send(&mut stream, &Reply::Unloaded, &[])?;
            }
            Request::Run { .. } if loaded.artifacts.is_empty() => {
                return fail(&mut stream, anyhow!("nothing is loaded yet"));
            }
            Request::Run { id, artifact } => {
                let (reply, tensors) = loaded.answer(id, artifact, &frame.tensors);
                wire::send(&mut stream, &reply, &tensors)?;
                loaded.note_run(artifact);
            }
        }
    }
}

/// Tells the peer, which may be gone, and the caller.
fn fail(stream: &mut UnixStream, error: anyhow::Error) -> Result<()> {
    tell(stream, &error)?;
    Err(error)
}

fn tell(stream: &mut UnixStream, error: &anyhow::Error) -> Result<()> {
    let message = message_of(error);
    let told = wire::send(stream, &Reply::Failed { id: None, message }, &[]);
    told.with_context(|| message_of(error))
}

/// Everything that was loaded, numbered in the order in which it came; what was unloaded is `None`.
#[derive(Default)]
struct Artifacts {
    artifacts: Vec<Option<Loaded>>,
}

/// The graph of one bucket, and the weights that it shares with the others of its bundle.
struct Loaded {
    bucket: Bucket,
    graph: Graph,
    weights: Rc<[Tensor]>,
    /// Whether it did, since it was loaded.
    has_run: bool,
}

impl Artifacts {
    fn load(&mut self, load: &Load) -> Result<()> {
        self.artifacts.extend(open(load)?.into_iter().map(Some));
        Ok(())
    }

    /// What is not loaded is unloaded already.
    fn unload(&mut self, first: usize, count: usize) {
        for artifact in self.artifacts.iter_mut().skip(first).take(count) {
            *artifact = None;
        }
    }

    fn answer(&self, id: u64, artifact: usize, inputs: &[HostTensor]) -> (Reply, Vec<HostTensor>) {
        let start = Instant::now();
        match self.run(artifact, inputs) {
            Ok(output) => {
                let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                (Reply::Output { id, micros }, vec![output])
            }
            Err(error) => {
                let message = message_of(&error);
                let id = Some(id);
                (Reply::Failed { id, message }, Vec::new())
            }
        }
    }

    /// Once each graph has run, memory holds much that only first runs need.
    fn note_run(&mut self, artifact: usize) {
        let Some(Some(graph)) = self.artifacts.get_mut(artifact) else {
            return;
        };
        let is_first = !mem::replace(&mut graph.has_run, true);
        if is_first && self.artifacts.iter().flatten().all(|graph| graph.has_run) {
            // Where /proc is hidden, it stays.
            let _ = start_pages::release();
        }
    }

    fn run(&self, artifact: usize, inputs: &[HostTensor]) -> Result<HostTensor> {
        match self.artifacts.get(artifact) {
            Some(Some(graph)) => graph.run(inputs),
            Some(None) => bail!("artifact {artifact} was unloaded"),
            None => bail!(
                "there is no artifact {artifact}, only {}",
                self.artifacts.len()
            ),
        }
    }
}

/// The graphs of a bundle.
fn open(load: &Load) -> Result<Vec<Loaded>> {
    ensure!(
        load.protocol == PROTOCOL,
        "the request is of protocol {}, this worker speaks {PROTOCOL}",
        load.protocol
    );
    ensure!(
        (1..=THREADS_MAX).contains(&load.threads),
        "an operator cannot use {} threads",
        load.threads
    );
    if let Some(module) = &load.module {
        bail!("this worker is no interpreter and cannot import `{module}`");
    }
    tch::set_num_threads(i32::try_from(load.threads)?);
    if let Some(plugin) = &load.plugin {
        plugin::open(plugin)?;
    }
    let graphs = load.artifacts.iter();
    let graphs = graphs.map(|Artifact { bucket, file }| Ok((*bucket, Graph::load(file)?)));
    let graphs: Vec<(Bucket, Graph)> = graphs.collect::<Result<_>>()?;
    let weights: Rc<[Tensor]> = weights(load, &graphs)?.into();
    let graphs = graphs.into_iter().map(|(bucket, graph)| Loaded {
        bucket,
        graph,
        weights: Rc::clone(&weights),
        has_run: false,
    });
    Ok(graphs.collect())
}

impl Loaded {
    fn run(&self, inputs: &[HostTensor]) -> Result<HostTensor> {
        check(self.bucket, inputs)?;
        let inputs: Vec<Tensor> = inputs.iter().map(to_torch).collect::<Result<_>>()?;
        let inputs: Vec<&Tensor> = self.weights.iter().chain(&inputs).collect();
        let output = self.graph.run(&inputs);
        to_host(&output.with_context(|| format!("running bucket {}", self.bucket))?)
    }
}

/// The weights that every graph takes; artifacts of a chip carry their own.
fn weights(load: &Load, graphs: &[(Bucket, Graph)]) -> Result<Vec<Tensor>> {
    if load.weight_names.is_empty() {
        return Ok(Vec::new());
    }
    let file = MappedFile::open(&load.weights)?;
    let names = load.weight_names.iter();
    let mut weights: Vec<Tensor> = names.map(|name| file.tensor(name)).collect::<Result<_>>()?;
    let graphs: Vec<&Graph> = graphs.iter().map(|(_, graph)| graph).collect();
    let packed = Packed::pack(&graphs, &mut weights)?;
    for (name, is_packed) in load.weight_names.iter().zip(packed.flags()) {
        if *is_packed {
            file.release(name)?;
        }
    }
    Ok(weights)
}

/// libtorch would broadcast a wrong shape or read a wrong type before it complains.
fn check(bucket: Bucket, inputs: &[HostTensor]) -> Result<()> {
    let grid = [bucket.batch, bucket.sequence];
    ensure!(
        inputs.iter().any(|tensor| tensor.shape() == grid),
        "bucket {bucket} got no input of its shape"
    );
    for (index, tensor) in inputs.iter().enumerate() {
        let layout = tensor.layout();
        let fits = layout.shape == grid || layout.shape == grid[..1];
        ensure!(
            fits && layout.dtype == Dtype::I64,
            "input {index} of bucket {bucket} is {:?} {:?}",
            layout.dtype,
            layout.shape
        );
    }
    Ok(())
}
