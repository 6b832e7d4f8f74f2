//! The server: an async front that parses, tokenizes and batches, and one worker process per core.
//!
//! A request goes through `http` (one file per protocol), becomes rows in `queue`, and is taken in
//! batches that `batcher` chooses by the cores that `supervisor` keeps running. Text never reaches a
//! worker.

mod batcher;
mod http;
mod queue;
mod supervisor;

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::bundle::Bundle;
use crate::failure::Failure;
use crate::runtime::Backend;
use crate::serve::queue::Queue;
use crate::serve::supervisor::{Core, CoreState, Workplace};
use crate::task::TaskModel;

/// The bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body of a request.
    pub body_bytes: usize,
    /// Rows that may wait for a core; more are refused with 429.
    pub queue_rows: usize,
    /// How long a request may take, waiting included.
    pub request: Duration,
    /// How long one batch may take on a worker before the worker counts as hung.
    pub run: Duration,
    /// How long accepted requests may take after the server was told to stop.
    pub drain: Duration,
    /// How long workers may take to close after the last answer.
    pub close: Duration,
}

impl Limits {
    pub const STANDARD: Limits = Limits {
        body_bytes: 2 << 20,
        queue_rows: 1024,
        request: Duration::from_secs(30),
        run: Duration::from_secs(60),
        drain: Duration::from_secs(30),
        close: Duration::from_secs(5),
    };
}

/// What to serve, and with what.
#[derive(Debug)]
pub struct Deployment {
    pub bundle: Bundle,
    pub backend: Backend,
    /// Worker processes.
    pub cores: usize,
    /// Threads that one operator of a worker may use.
    pub threads: usize,
    /// Where the workers' output goes.
    pub log: File,
    pub limits: Limits,
}

/// A model that is being served.
#[derive(Debug)]
struct Served {
    name: String,
    model: TaskModel,
    queue: Arc<Queue>,
    cores: Vec<Core>,
    limits: Limits,
    /// The server was told to stop: it is no longer ready, but answers what it accepted.
    stopping: AtomicBool,
}

impl Served {
    fn start(deployment: Deployment) -> Result<Arc<Self>> {
        let Deployment {
            bundle,
            backend,
            cores,
            threads,
            log,
            limits,
        } = deployment;
        let plan = &bundle.manifest.plan;
        let queue = Arc::new(Queue::new(plan.buckets.clone(), limits.queue_rows));
        let name = plan.name.clone();
        let model = TaskModel::open(&bundle)?;
        let workplace = Arc::new(Workplace {
            bundle,
            backend,
            threads,
            log,
            run_deadline: limits.run,
        });
        let start = |index| Core::start(index, Arc::clone(&workplace), Arc::clone(&queue));
        Ok(Arc::new(Self {
            name,
            model,
            cores: (0..cores).map(start).collect::<Result<_>>()?,
            queue,
            limits,
            stopping: AtomicBool::new(false),
        }))
    }

    /// True when a request would be answered: the server is not stopping and a core is ready.
    fn is_ready(&self) -> bool {
        let ready = |core: &Core| matches!(core.state(), CoreState::Ready { .. });
        !self.stopping.load(Ordering::Relaxed) && self.cores.iter().any(ready)
    }
}

/// Takes `address`, so that a port that is in use shows before anything is started.
pub fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        Failure::usage(format!("cannot listen on {address}"))
            .why(error.to_string())
            .help("give another `--port` or `--host`")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until `stop` is done, then answers what was accepted and ends. Workers that do not close
/// in time are left to `cleanup`.
pub fn run(
    deployment: Deployment,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let served = Served::start(deployment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let outcome = runtime.block_on(http::serve(Arc::clone(&served), listener, stop));
    // Requests that outlived the drain must not keep the process.
    runtime.shutdown_background();
    served.queue.close();
    if outcome.is_err() {
        served.queue.abandon();
    }
    let ends = Instant::now() + served.limits.close;
    for core in &served.cores {
        core.wait_closed(ends);
    }
    outcome
}
