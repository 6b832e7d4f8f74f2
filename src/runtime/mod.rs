//! A worker as seen from this side: one process that holds the artifacts of its bundles.

use std::fs::File;
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
use crate::command::Program;
use crate::executor::job::{PROTOCOL, WEIGHTS_FILE};
use crate::executor::wire::{self, Artifact, Load, Reply, Request};
use crate::failure::{Class, Failure};
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
    /// Starts `executor` and has it load `bundle`; `threads` is what one operator may use.
    pub fn start(executor: &Program, bundle: &Bundle, threads: usize, log: File) -> Result<Self> {
        let mut program = executor.clone();
        program.args.push("worker".into());
        let (child, socket) = program.start_with_socket(log)?;
        let mut worker = Self {
            _registration: cleanup::process(child.id()),
            child,
            socket,
            artifacts: Vec::new(),
            runs: 0,
        };
        worker.load(bundle, threads)?;
        Ok(worker)
    }

    /// Also loads `bundle`, unless that was done.
    pub fn load(&mut self, bundle: &Bundle, threads: usize) -> Result<()> {
        if self
            .artifacts
            .iter()
            .any(|(folder, _)| folder == bundle.folder())
        {
            return Ok(());
        }
        let manifest = &bundle.manifest;
        let artifacts = manifest.artifacts.iter().map(|artifact| Artifact {
            bucket: artifact.bucket,
            file: bundle.path(&artifact.file),
        });
        let load = Request::Load(Load {
            protocol: PROTOCOL,
            artifacts: artifacts.collect(),
            plugin: None,
            module: None,
            weights: bundle.path(WEIGHTS_FILE),
            weight_names: manifest.weight_names.clone(),
            threads,
        });
        match self.ask(&load, &[], LOAD_DEADLINE)?.message {
            Reply::Loaded => {
                let buckets = manifest.artifacts.iter().map(|artifact| artifact.bucket);
                let folder = bundle.folder();
                self.artifacts
                    .extend(buckets.map(|bucket| (folder.to_owned(), bucket)));
                Ok(())
            }
            Reply::Failed { message, .. } => Err(Failure::new(
                Class::Executor,
                "a worker cannot load the bundle",
            )
            .why(message)
            .into()),
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
            } if answered == id => Err(RunError { message }.into()),
            other => bail!("a worker answered run {id} with {other:?}"),
        }
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
        self.socket.set_read_timeout(Some(deadline))?;
        self.socket.set_write_timeout(Some(deadline))?;
        let answer = wire::send(&mut self.socket, request, tensors)
            .and_then(|()| wire::receive(&mut self.socket));
        match answer {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.death("it closed its socket")),
            Err(error) => Err(self.death(&format!("{error:#}"))),
        }
    }

    /// Why the worker no longer answers, with its exit status where it has one.
    fn death(&mut self, how: &str) -> anyhow::Error {
        let status = match self.wait_briefly() {
            Some(status) => format!("{how}; {status}"),
            None => format!("{how}; it still runs"),
        };
        Failure::new(Class::Executor, "a worker failed")
            .why(status)
            .into()
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

/// A run that the worker refused or could not do; the worker itself is fine.
#[derive(Debug)]
pub struct RunError {
    pub message: String,
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the worker could not run the batch: {}", self.message)
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
