//! The process of a worker, and what is asked of it over its socket.

use std::fs::File;
use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wait_timeout::ChildExt as _;

use crate::bucket::{self, Bucket, Row};
use crate::bundle::{Bundle, Identity};
use crate::cleanup::{self, Registration};
use crate::executor::job::{PROTOCOL, WEIGHTS_FILE};
use crate::executor::wire::{self, Artifact, Load, Reply, Request};
use crate::failure::{Class, Failure};
use crate::runtime::exchange::Exchange;
use crate::runtime::log::Log;
use crate::runtime::{Backend, Diagnosis, Preload, output};
use crate::sample::output::OutputLayout;
use crate::tensor::HostTensor;

/// How long a worker may take to load a bundle.
const LOAD_DEADLINE: Duration = Duration::from_secs(300);

/// How long a worker may take to end after its socket was closed.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// A running worker with everything loaded. Dropping it ends the process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    /// So that it does not outlive a server that is interrupted or stopped.
    _registration: Registration,
    exchange: Exchange,
    log: Log,
    /// Where the log was when the worker began with the oldest request that is open.
    asked_at: u64,
    preload: Preload,
    loaded: Vec<Loaded>,
    /// How many artifacts were ever loaded: the worker numbers them on.
    numbered: usize,
    /// Runs that were begun.
    begun: u64,
    /// Runs that were answered; the worker answers in order.
    answered: u64,
}

/// A bundle on the worker.
#[derive(Debug)]
struct Loaded {
    identity: Identity,
    /// The number of its first artifact.
    first: usize,
    buckets: Vec<Bucket>,
}

/// A run that the worker was given and has not answered.
#[derive(Debug)]
#[must_use = "the worker answers in order: every run has to be finished"]
pub struct Begun {
    id: u64,
    bucket: Bucket,
    output: OutputLayout,
    begun: Instant,
    /// From then on.
    limit: Duration,
}

impl Worker {
    /// Starts `backend` and has it load `bundle`; `threads` is what one operator may use. What the
    /// process writes goes to `log`.
    pub fn start(backend: &Backend, bundle: &Bundle, threads: usize, log: File) -> Result<Self> {
        let (log, writer) = Log::start(log)?;
        let started = backend.worker().start_with_socket(writer);
        let (child, socket) = started.map_err(|error| {
            Failure::new(Class::Executor, "a worker cannot be started").why(format!("{error:#}"))
        })?;
        let mut worker = Self {
            _registration: cleanup::process(child.id()),
            child,
            exchange: Exchange::new(socket),
            log,
            asked_at: 0,
            preload: backend.preload().clone(),
            loaded: Vec::new(),
            numbered: 0,
            begun: 0,
            answered: 0,
        };
        worker.load(bundle, threads)?;
        Ok(worker)
    }

    /// Also loads `bundle`, unless that was done. An error of [`LoadError`] leaves the worker as it was;
    /// any other means that it has to be replaced. No run may be open.
    pub fn load(&mut self, bundle: &Bundle, threads: usize) -> Result<()> {
        if self.find(bundle).is_some() {
            return Ok(());
        }
        let is_first = self.loaded.is_empty();
        self.asked_at = if is_first { 0 } else { self.log.position() };
        let request = Request::Load(load(&self.preload, bundle, threads));
        match self.ask(&request)? {
            Reply::Loaded => {
                let artifacts = bundle.manifest.artifacts.iter();
                let buckets: Vec<Bucket> = artifacts.map(|artifact| artifact.bucket).collect();
                let first = self.numbered;
                self.numbered += buckets.len();
                self.loaded.push(Loaded {
                    identity: bundle.identity().clone(),
                    first,
                    buckets,
                });
                Ok(())
            }
            Reply::Failed { message, .. } if is_first => {
                // It ends now, and what it still writes until then may be the cause.
                let _ = self.child.wait_timeout(CLOSE_DEADLINE);
                Err(self.load_failure(message).into())
            }
            Reply::Failed { message, .. } => Err(LoadError(self.load_failure(message)).into()),
            other => bail!("a worker answered a load with {other:?}"),
        }
    }

    fn load_failure(&self, message: String) -> Failure {
        let what = "a worker cannot load the bundle";
        match self.diagnose(&message) {
            Some(diagnosis) => diagnosis.failure(what),
            None => Failure::new(Class::Executor, what).why(message),
        }
    }

    /// Lets go of `bundle`, unless it was not loaded. No run may be open.
    pub fn unload(&mut self, bundle: &Bundle) -> Result<()> {
        let Some(index) = self.find(bundle) else {
            return Ok(());
        };
        let Loaded { first, buckets, .. } = &self.loaded[index];
        let request = Request::Unload {
            first: *first,
            count: buckets.len(),
        };
        match self.ask(&request)? {
            Reply::Unloaded => {
                self.loaded.remove(index);
                Ok(())
            }
            other => bail!("a worker answered an unload with {other:?}"),
        }
    }

    pub fn has(&self, bundle: &Bundle) -> bool {
        self.find(bundle).is_some()
    }

    fn find(&self, bundle: &Bundle) -> Option<usize> {
        self.loaded
            .iter()
            .position(|loaded| loaded.identity == *bundle.identity())
    }

    /// Gives the worker `rows` for `bucket` of a loaded bundle, to be answered within `limit` from now. It
    /// may be given more before it has answered: it runs them one after the other.
    pub fn begin(
        &mut self,
        bundle: &Bundle,
        bucket: Bucket,
        rows: &[&Row],
        limit: Duration,
    ) -> Result<Begun> {
        let artifact = self.find(bundle).and_then(|index| {
            let Loaded { first, buckets, .. } = &self.loaded[index];
            let place = buckets.iter().position(|known| *known == bucket)?;
            Some(first + place)
        });
        let Some(artifact) = artifact else {
            bail!(
                "bucket {bucket} of `{}` is not loaded",
                bundle.folder().display()
            );
        };
        let plan = &bundle.manifest.plan;
        let inputs = bucket::fill(bucket, rows, &plan.inputs, plan.pad_id)?;
        if self.begun == self.answered {
            self.asked_at = self.log.position();
        }
        let id = self.begun + 1;
        let begun = Instant::now();
        self.send(&Request::Run { id, artifact }, &inputs, limit)?;
        self.begun = id;
        Ok(Begun {
            id,
            bucket,
            output: bundle.manifest.output,
            begun,
            limit,
        })
    }

    /// Waits until `moment` at most; true when the oldest open run was answered, or never will be.
    pub fn is_done_before(&self, moment: Instant) -> Result<bool> {
        self.exchange.is_answered_before(moment)
    }

    /// The output for each of `rows`, which are those of the oldest open run, in their order. An error of
    /// [`RunError`] leaves the worker usable; any other means that it has to be replaced.
    pub fn finish(&mut self, run: Begun, rows: &[&Row]) -> Result<Vec<Vec<f32>>> {
        let frame = self.receive(run.begun, run.limit)?;
        self.answered += 1;
        let failure = match frame.message {
            Reply::Output { id, .. } if id == run.id => None,
            Reply::Failed {
                id: Some(id),
                message,
            } if id == run.id => Some(self.run_failure(message)),
            other => bail!("a worker answered run {} with {other:?}", run.id),
        };
        if self.begun > self.answered {
            self.asked_at = self.log.position();
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let [tensor] = <[HostTensor; 1]>::try_from(frame.tensors).map_err(|tensors| {
            anyhow::anyhow!("a worker answered with {} tensors", tensors.len())
        })?;
        output::split_rows(&tensor, run.bucket, rows, run.output)
    }

    /// Runs `rows` through `bucket` of a loaded bundle, as [`Worker::begin`] and [`Worker::finish`] do.
    pub fn run_rows(
        &mut self,
        bundle: &Bundle,
        bucket: Bucket,
        rows: &[&Row],
        limit: Duration,
    ) -> Result<Vec<Vec<f32>>> {
        let run = self.begin(bundle, bucket, rows, limit)?;
        self.finish(run, rows)
    }

    /// A failed run is the fault of the request, unless the core was lost over it.
    fn run_failure(&self, message: String) -> anyhow::Error {
        match self.diagnose(&message) {
            Some(diagnosis) if diagnosis.ends_process => {
                diagnosis.failure("a worker failed").into()
            }
            diagnosis => RunError { message, diagnosis }.into(),
        }
    }

    /// The cause of a failure, by what the worker says and what it wrote since the last request.
    fn diagnose(&self, message: &str) -> Option<Diagnosis> {
        Diagnosis::find(message, &self.log.since(self.asked_at))
    }

    /// The process id of the worker.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Fails with the exit status when the process has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("looking after a worker")? {
            None => Ok(()),
            Some(status) => Err(Failure::new(Class::Executor, "a worker ended")
                .why(status.to_string())
                .into()),
        }
    }

    /// The reply to a request that has no tensors.
    fn ask(&mut self, request: &Request) -> Result<Reply> {
        self.send(request, &[], LOAD_DEADLINE)?;
        Ok(self.receive(Instant::now(), LOAD_DEADLINE)?.message)
    }

    fn send(&mut self, request: &Request, tensors: &[HostTensor], limit: Duration) -> Result<()> {
        let sent = self.exchange.send(request, tensors, Instant::now() + limit);
        sent.map_err(|error| self.broken(&error, limit))
    }

    /// The reply to what was asked at `asked` and has to be answered within `limit`.
    fn receive(&mut self, asked: Instant, limit: Duration) -> Result<wire::Frame<Reply>> {
        match self.exchange.receive(asked + limit) {
            Ok(Some(frame)) => {
                self.check_core(&frame.message)?;
                Ok(frame)
            }
            Ok(None) => Err(self.death("it closed its socket")),
            Err(error) => Err(self.broken(&error, limit)),
        }
    }

    /// The worker is lost; one that only took too long is killed.
    fn broken(&mut self, error: &anyhow::Error, limit: Duration) -> anyhow::Error {
        if !timed_out(error) {
            return self.death(&format!("{error:#}"));
        }
        // It may hang where no closed socket can wake it.
        let _ = self.child.kill();
        self.death(&format!(
            "it did not answer within {limit:?} and was killed"
        ))
    }

    /// Without a device the library of a chip answers all the same, with tensors that hold nothing, and
    /// only its log says so.
    fn check_core(&self, reply: &Reply) -> Result<()> {
        if self.preload == Preload::Nothing || matches!(reply, Reply::Failed { .. }) {
            return Ok(());
        }
        match self.diagnose("") {
            Some(diagnosis) if diagnosis.ends_process => {
                Err(diagnosis.failure("a worker does not use its core").into())
            }
            _ => Ok(()),
        }
    }

    /// Why the worker no longer answers, with its exit status where it has one.
    fn death(&mut self, how: &str) -> anyhow::Error {
        let status = match self.wait_briefly() {
            Some(status) => format!("{how}; {status}"),
            None => format!("{how}; it still runs"),
        };
        let what = "a worker failed";
        match self.diagnose("") {
            Some(diagnosis) => diagnosis.failure(&format!("{what}: {status}")).into(),
            None => Failure::new(Class::Executor, what).why(status).into(),
        }
    }

    /// A process whose socket broke is about to end: its status says more than the broken socket.
    fn wait_briefly(&mut self) -> Option<ExitStatus> {
        self.child
            .wait_timeout(Duration::from_millis(500))
            .ok()
            .flatten()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The worker ends by itself then; one that does not is killed.
        self.exchange.close();
        if let Ok(None) = self.child.wait_timeout(CLOSE_DEADLINE) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// What a worker of `backend` is told to load of `bundle`.
fn load(preload: &Preload, bundle: &Bundle, threads: usize) -> Load {
    let manifest = &bundle.manifest;
    let artifacts = manifest.artifacts.iter().map(|artifact| Artifact {
        bucket: artifact.bucket,
        file: bundle.path(&artifact.file),
    });
    let (plugin, module) = match preload {
        Preload::Nothing => (None, None),
        Preload::Plugin(plugin) => (Some(plugin.clone()), None),
        Preload::Module(module) => (None, Some(module.clone())),
    };
    Load {
        protocol: PROTOCOL,
        artifacts: artifacts.collect(),
        plugin,
        module,
        weights: bundle.path(WEIGHTS_FILE),
        // What was compiled for a chip holds its weights.
        weight_names: match preload {
            Preload::Nothing => manifest.weight_names.clone(),
            Preload::Plugin(_) | Preload::Module(_) => Vec::new(),
        },
        threads,
    }
}

/// True when the socket's deadline passed.
fn timed_out(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    })
}

/// The status of an execution whose result holds NaN.
const NUMERIC: &str = "NRT_EXEC_COMPLETED_WITH_NUM_ERR";

/// A run that the worker refused or could not do; the worker itself is fine.
#[derive(Debug)]
pub struct RunError {
    pub message: String,
    /// What the message means, where it is known.
    pub diagnosis: Option<Diagnosis>,
}

impl RunError {
    /// The device found values that are not numbers.
    pub fn is_numeric(&self) -> bool {
        let name = self.diagnosis.as_ref().map(|found| &found.entry.name);
        name.is_some_and(|name| name == NUMERIC)
    }
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the worker could not run the batch: {}", self.message)?;
        match &self.diagnosis {
            Some(Diagnosis { entry, .. }) => write!(f, " ({}: {})", entry.name, entry.title),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RunError {}

/// A bundle that could not be loaded beside others; the worker itself is fine.
#[derive(Debug)]
pub struct LoadError(Failure);

impl LoadError {
    /// The bundle itself cannot be loaded, whatever the worker.
    pub fn from_error(what: &str, error: &anyhow::Error) -> Self {
        Self(Failure::new(Class::Executor, what).why(format!("{error:#}")))
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for LoadError {}
