//! A worker as seen from this side: one process that holds the artifacts of its bundles.
//!
//! [`Backend`] says what is started and in which environment, [`Diagnosis`] why it failed.

mod backend;
mod choice;
mod diagnosis;
mod log;
pub mod simulated;

pub use backend::{Backend, EXEC_TIMEOUT, Preload};
pub use choice::backend_for;
pub use diagnosis::Diagnosis;

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use wait_timeout::ChildExt as _;

use crate::bucket::{self, Bucket, Row};
use crate::bundle::Bundle;
use crate::cleanup::{self, Registration};
use crate::executor::job::{PROTOCOL, WEIGHTS_FILE};
use crate::executor::wire::{self, Artifact, Load, Reply, Request};
use crate::failure::{Class, Failure};
use crate::runtime::log::Log;
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
    socket: UnixStream,
    log: Log,
    /// Where the log was when the last request was sent.
    asked_at: u64,
    preload: Preload,
    /// Each with the folder of its bundle, in the order in which the worker numbers them.
    artifacts: Vec<(PathBuf, Bucket)>,
    runs: u64,
}

/// The result of a run.
#[derive(Debug)]
pub struct Output {
    pub tensor: HostTensor,
    /// Time in the worker, without the socket.
    pub micros: u64,
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
            socket,
            log,
            asked_at: 0,
            preload: backend.preload().clone(),
            artifacts: Vec::new(),
            runs: 0,
        };
        worker.load(bundle, threads)?;
        Ok(worker)
    }

    /// Also loads `bundle`, unless that was done.
    pub fn load(&mut self, bundle: &Bundle, threads: usize) -> Result<()> {
        let folder = bundle.folder();
        if self.artifacts.iter().any(|(known, _)| known == folder) {
            return Ok(());
        }
        let request = Request::Load(load(&self.preload, bundle, threads));
        match self.ask(&request, &[], LOAD_DEADLINE)?.message {
            Reply::Loaded => {
                let artifacts = bundle.manifest.artifacts.iter();
                let numbered = artifacts.map(|artifact| (folder.to_owned(), artifact.bucket));
                self.artifacts.extend(numbered);
                Ok(())
            }
            Reply::Failed { message, .. } => {
                // It ends now, and what it still writes until then may be the cause.
                let _ = self.child.wait_timeout(CLOSE_DEADLINE);
                let what = "a worker cannot load the bundle";
                Err(match self.diagnose(&message) {
                    Some(diagnosis) => diagnosis.failure(what),
                    None => Failure::new(Class::Executor, what).why(message),
                }
                .into())
            }
            other => bail!("a worker answered a load with {other:?}"),
        }
    }

    /// Runs an artifact on its input tensors. An error of [`RunError`] leaves the worker usable; any
    /// other means that it has to be replaced.
    fn run(
        &mut self,
        artifact: usize,
        inputs: &[HostTensor],
        deadline: Duration,
    ) -> Result<Output> {
        self.runs += 1;
        let id = self.runs;
        let frame = self.ask(&Request::Run { id, artifact }, inputs, deadline)?;
        match frame.message {
            Reply::Output {
                id: answered,
                micros,
            } if answered == id => {
                let [tensor] = <[HostTensor; 1]>::try_from(frame.tensors).map_err(|tensors| {
                    anyhow::anyhow!("a worker answered with {} tensors", tensors.len())
                })?;
                Ok(Output { tensor, micros })
            }
            Reply::Failed {
                id: Some(answered),
                message,
            } if answered == id => Err(self.run_failure(message)),
            other => bail!("a worker answered run {id} with {other:?}"),
        }
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

    /// Runs `rows` through `bucket` of a loaded bundle and returns one output for each row, in their
    /// order. An error of [`RunError`] leaves the worker usable; any other means that it has to be
    /// replaced.
    pub fn run_rows(
        &mut self,
        bundle: &Bundle,
        bucket: Bucket,
        rows: &[&Row],
        deadline: Duration,
    ) -> Result<Vec<Vec<f32>>> {
        let is_it =
            |(folder, known): &(PathBuf, Bucket)| folder == bundle.folder() && *known == bucket;
        let Some(artifact) = self.artifacts.iter().position(is_it) else {
            bail!(
                "bucket {bucket} of `{}` is not loaded",
                bundle.folder().display()
            );
        };
        let plan = &bundle.manifest.plan;
        let inputs = bucket::fill(bucket, rows, &plan.inputs, plan.pad_id)?;
        let output = self.run(artifact, &inputs, deadline)?;
        split_rows(&output.tensor, bucket, rows)
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

    fn ask(
        &mut self,
        request: &Request,
        tensors: &[HostTensor],
        deadline: Duration,
    ) -> Result<wire::Frame<Reply>> {
        if request_is_run(request) {
            self.asked_at = self.log.position();
        }
        self.socket.set_read_timeout(Some(deadline))?;
        self.socket.set_write_timeout(Some(deadline))?;
        let answer = wire::send(&mut self.socket, request, tensors)
            .and_then(|()| wire::receive(&mut self.socket));
        match answer {
            Ok(Some(frame)) => {
                self.check_core(&frame.message)?;
                Ok(frame)
            }
            Ok(None) => Err(self.death("it closed its socket")),
            Err(error) if timed_out(&error) => {
                // It may hang where no closed socket can wake it.
                let _ = self.child.kill();
                Err(self.death(&format!(
                    "it did not answer within {deadline:?} and was killed"
                )))
            }
            Err(error) => Err(self.death(&format!("{error:#}"))),
        }
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
        // The worker ends by itself when its socket is closed; one that does not is killed.
        let _ = self.socket.shutdown(Shutdown::Both);
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

/// What a worker writes before its first request belongs to that one.
fn request_is_run(request: &Request) -> bool {
    matches!(request, Request::Run { .. })
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

/// Cuts an output into one part for each row, without padding. An output has the batch as its first
/// axis; where the second one is the bucket's sequence, each row keeps as much of it as it has tokens.
pub fn split_rows(output: &HostTensor, bucket: Bucket, rows: &[&Row]) -> Result<Vec<Vec<f32>>> {
    let values = output.to_f32()?;
    let (batch, rest) = match output.shape() {
        [batch, rest @ ..] if *batch == bucket.batch => (*batch, rest),
        other => bail!("an output of bucket {bucket} has the shape {other:?}"),
    };
    let per_row = values.len() / batch;
    let parts = values
        .chunks_exact(per_row.max(1))
        .zip(rows)
        .map(|(part, row)| {
            let per_token = match rest {
                [sequence, inner @ ..] if *sequence == bucket.sequence && !inner.is_empty() => {
                    inner.iter().product::<usize>()
                }
                _ => return part.to_vec(),
            };
            part[..row.ids.len() * per_token].to_vec()
        });
    Ok(parts.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_from_token_outputs_and_text_outputs_stay_whole() {
        let bucket = Bucket {
            batch: 2,
            sequence: 3,
        };
        let row = Row {
            ids: vec![1, 2],
            type_ids: vec![0, 0],
            position: None,
        };
        let values: Vec<f32> = (0..12u8).map(f32::from).collect();
        let tokens = HostTensor::from_f32(&[2, 3, 2], &values).unwrap();
        assert_eq!(
            split_rows(&tokens, bucket, &[&row]).unwrap(),
            [[0.0, 1.0, 2.0, 3.0]]
        );
        let texts = HostTensor::from_f32(&[2, 3], &values[..6]).unwrap();
        assert_eq!(
            split_rows(&texts, bucket, &[&row]).unwrap(),
            [[0.0, 1.0, 2.0]]
        );
    }
}
