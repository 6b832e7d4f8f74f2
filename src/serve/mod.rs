//! The server: an async front that parses, tokenizes and batches, and one worker process for each
//! worker of a placement.
//!
//! A request goes through `http` (one file per protocol), and becomes rows (`job`) that wait in the
//! `queue`. `batcher` chooses what runs together. Each core has a thread, its `keeper`, in which a `feeder`
//! gives batches to a `device`: a `process`, or a `simulated` one. `management` changes what the cores
//! hold while they run. Text never reaches a worker.

pub mod config;
mod core;
mod http;
mod request;

pub use core::models::check_model_name;
pub use http::{Gate, Keys, Tls, Traces, check_key_name, openapi, status};

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use crate::bundle::Bundle;
use crate::placement::Placement;
use crate::profile::ChipProfile;
use crate::runtime::Backend;
use crate::runtime::simulated::{SimulatedModel, Simulation};
use crate::serve::core::aliases::Alias;
use crate::serve::core::models::{ModelId, Models, ServedModel, Use};
use crate::serve::core::queue::Queue;
use crate::serve::core::supervisor::{Keeper, Workplace};
use crate::serve::core::worker::Core;
use crate::serve::request::body_budget::Room;
use crate::serve::request::traffic::Traffic;

/// The bounds of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of all ports.
    pub connections: usize,
    /// Requests at a time of one connection.
    pub requests_per_connection: usize,
    /// How long a client may take to connect and to send the head of a request.
    pub head: Duration,
    /// How long it may take to send a body, and to take something of an answer.
    pub body: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle: Duration,
    /// The largest body of a request.
    pub body_bytes: usize,
    /// Bytes of bodies that the server holds at a time, beyond the first few thousand of each.
    pub bodies_bytes: usize,
    /// Rows of one model that may wait for a core; more are refused with 429.
    pub queue_rows: usize,
    /// How long a request may take from the end of its body, waiting included.
    pub request: Duration,
    /// How long one batch may take on a worker before the worker counts as hung, unless its bucket is
    /// known to be slow. Less than half of `request`, so that the batch can be run elsewhere, unless
    /// `request` alone was made shorter.
    pub run: Duration,
    /// How long the server, told to stop, only says so in its readiness and goes on.
    pub notice: Duration,
    /// How long accepted requests may take after that.
    pub drain: Duration,
    /// How long workers may take to close after the last answer.
    pub close: Duration,
}

impl Limits {
    pub const STANDARD: Limits = Limits {
        connections: 16_384,
        requests_per_connection: 128,
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        // Longer than the load balancers of clouds keep theirs, who must be the ones to close.
        idle: Duration::from_secs(75),
        body_bytes: 2 << 20,
        bodies_bytes: 256 << 20,
        queue_rows: 1024,
        request: Duration::from_secs(30),
        run: Duration::from_secs(10),
        notice: Duration::from_secs(1),
        drain: Duration::from_secs(30),
        close: Duration::from_secs(5),
    };
}

// What a worker hangs on can still be run by another one.
const _: () = assert!(2 * Limits::STANDARD.run.as_secs() < Limits::STANDARD.request.as_secs());

/// What runs the batches.
#[derive(Debug)]
pub enum Runtime {
    /// A process for each worker.
    Processes(Backend),
    /// Nothing: the server only waits as long as a device would take.
    Simulated(Simulation),
}

impl Runtime {
    /// What a simulated device needs to know of the bundle.
    fn simulated(&self, bundle: &Bundle) -> Result<Option<SimulatedModel>> {
        match self {
            Runtime::Processes(_) => Ok(None),
            Runtime::Simulated(simulation) => simulation.open(bundle).map(Some),
        }
    }
}

/// What to serve, where, and with what.
#[derive(Debug)]
pub struct Deployment {
    /// The bundles of the placement's models, in their order.
    pub bundles: Vec<Bundle>,
    pub placement: Placement,
    /// The chip of the machine.
    pub profile: ChipProfile,
    pub runtime: Runtime,
    /// Where the workers' output goes.
    pub log: File,
    pub limits: Limits,
    pub gate: Gate,
}

/// How many connections there can be: those asked for, else the standard ones, if the limit of open
/// files, which is raised for it, has place for them.
pub fn places(asked: Option<NonZeroUsize>, workers: usize) -> Result<usize> {
    http::places(asked, workers)
}

/// A port of the server.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    pub door: Door,
}

/// Who comes in through a port, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Requests, to any core.
    All,
    /// Requests, to this worker alone, as an index into the placement.
    Worker(usize),
    /// Requests, to any core, and operators.
    Management,
}

/// What is being served.
#[derive(Debug)]
struct Served {
    models: Models,
    queue: Arc<Queue>,
    /// One for each worker of the placement.
    cores: Vec<Arc<Core>>,
    limits: Limits,
    workplace: Arc<Workplace>,
    profile: ChipProfile,
    started: Instant,
    traffic: Traffic,
    room: Arc<Room>,
    /// Held while what cores hold changes.
    changing: Mutex<()>,
    /// Held while what names mean changes, after `changing` where both are.
    naming: Mutex<()>,
    /// The server was told to stop: it is no longer ready, but answers what it accepted.
    stopping: AtomicBool,
    /// The time for that is over: what is still open is refused.
    given_up: watch::Sender<bool>,
}

impl Served {
    fn start(deployment: Deployment) -> Result<Arc<Self>> {
        let limits = deployment.limits;
        let runtime = deployment.runtime;
        let placement = deployment.placement;
        let placed = placement.models.into_iter().zip(deployment.bundles);
        let models = placed.map(|(placed, bundle)| {
            let simulated = runtime.simulated(&bundle)?;
            ServedModel::open(placed, bundle, simulated, limits.queue_rows)
        });
        let models: Vec<Arc<ServedModel>> = models.collect::<Result<_>>()?;
        let queue = Arc::new(Queue::new(limits.queue_rows));
        for model in &models {
            queue.open(model.id, &model.plan().buckets);
        }
        let workplace = Arc::new(Workplace {
            machine: placement.machine,
            runtime,
            log: deployment.log,
            run_limit: limits.run,
        });
        let mut cores = Vec::new();
        for (index, worker) in placement.workers.into_iter().enumerate() {
            let wanted = worker
                .models
                .iter()
                .map(|model| Arc::clone(&models[*model]));
            let wanted: Vec<Arc<ServedModel>> = wanted.collect();
            for model in &wanted {
                queue.assign(model.id, index);
            }
            let core = Arc::new(Core::new(index, worker, wanted));
            Keeper::start(
                Arc::clone(&core),
                Arc::clone(&workplace),
                Arc::clone(&queue),
            )?;
            cores.push(core);
        }
        Ok(Arc::new(Self {
            models: Models::new(models),
            queue,
            cores,
            limits,
            workplace,
            profile: deployment.profile,
            started: Instant::now(),
            traffic: Traffic::default(),
            room: Room::new(limits.bodies_bytes),
            changing: Mutex::new(()),
            naming: Mutex::new(()),
            stopping: AtomicBool::new(false),
            given_up: watch::Sender::new(false),
        }))
    }

    /// Answers mean nothing.
    fn is_simulated(&self) -> bool {
        matches!(self.workplace.runtime, Runtime::Simulated(_))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The server as it is seen through one of its ports.
#[derive(Debug, Clone)]
struct Entrance {
    served: Arc<Served>,
    door: Door,
}

impl Entrance {
    /// The worker that alone answers here.
    fn worker(&self) -> Option<usize> {
        match self.door {
            Door::Worker(index) => Some(index),
            Door::All | Door::Management => None,
        }
    }

    /// The cores that answer here.
    fn cores(&self) -> &[Arc<Core>] {
        match self.worker() {
            None => &self.served.cores,
            Some(index) => &self.served.cores[index..=index],
        }
    }

    fn is_here(&self, model: ModelId) -> bool {
        self.worker()
            .is_none_or(|index| self.served.cores[index].wants(model))
    }

    /// The models that are served here, the first one first.
    fn models(&self) -> Vec<Arc<ServedModel>> {
        let mut models = self.served.models.all();
        models.retain(|model| self.is_here(model.id));
        models
    }

    /// What can be asked for here: the models, and the aliases of which a model is here.
    fn names(&self) -> Vec<String> {
        let models = self.models();
        let mut names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
        let is_here = |alias: &Alias| {
            let mut targets = alias.targets().iter().filter(|target| target.weight > 0);
            targets.any(|target| models.iter().any(|model| *model.name == *target.model))
        };
        for (name, alias) in self.served.models.aliases() {
            if is_here(&alias) {
                names.push(name);
            }
        }
        names
    }

    /// The model of that name, or the one whose turn it is under an alias, of those that are served here.
    fn find(&self, name: &str) -> Option<Use> {
        self.served.models.find(name, |model| self.is_here(model))
    }

    /// The first of the models that are served here that `is_it` is true of.
    fn first(&self, mut is_it: impl FnMut(&ServedModel) -> bool) -> Option<Use> {
        let models = &self.served.models;
        models.first(|model| self.is_here(model.id) && is_it(model))
    }

    /// True when there are models, and a request for any of them would be answered.
    fn is_ready(&self) -> bool {
        let models = self.models();
        !models.is_empty() && models.iter().all(|model| self.is_model_ready(model.id))
    }

    /// True when a request for this model would be answered: the server is not stopping and the model
    /// has a core that is ready.
    fn is_model_ready(&self, model: ModelId) -> bool {
        let mut cores = self.cores().iter();
        !self.served.is_stopping() && cores.any(|core| core.is_ready_for(model))
    }
}

/// Takes `address`, so that a port that is in use shows before anything is started.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Whether and how a server is told to stop; what comes later stops it sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    NotYet,
    /// Whoever sends requests has to see it first.
    WithNotice,
    /// Nobody has to be told.
    WithoutNotice,
    /// Nor is what was accepted waited for.
    WithoutDrain,
}

/// Serves until `stop` says otherwise, then answers what was accepted and ends. Workers that do not
/// close in time are left to `cleanup`.
pub fn run(
    mut deployment: Deployment,
    listeners: Vec<Listener>,
    stop: watch::Receiver<Stop>,
) -> Result<()> {
    let gate = Arc::new(std::mem::take(&mut deployment.gate));
    let traces = gate.traces.clone();
    let served = Served::start(deployment)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let outcome = runtime.block_on(http::serve(Arc::clone(&served), gate, listeners, stop));
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
    if let Some(traces) = traces {
        traces.close(served.limits.close);
    }
    outcome
}
