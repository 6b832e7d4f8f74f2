//! A worker's cores as the rest of the server sees them: what they are to hold, what they hold, how they
//! are and what happened to them. A [`Supervisor`](crate::serve::core::supervisor::Supervisor) brings one to the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use crate::placement::Worker as PlacedWorker;
use crate::serve::core::counters::WorkerCounters;
use crate::serve::core::models::ServedModel;
use crate::serve::core::names::ModelId;

/// So many losses of workers are remembered.
const INCIDENTS_MAX: usize = 20;

/// What a core is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WorkerState {
    Starting,
    /// An inference has succeeded on it, in every bucket of what it holds.
    Ready {
        /// Absent where the worker is no process.
        process_id: Option<u32>,
    },
    /// It has nothing to hold.
    Empty,
    /// The worker was lost; a new one is started soon.
    Down {
        cause: String,
    },
    /// Workers were lost one after the other; a new one is tried from time to time.
    Broken {
        cause: String,
    },
    Closed,
}

/// The loss of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Incident {
    pub(crate) at: SystemTime,
    pub(crate) cause: String,
}

/// Why a model could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadFailure {
    pub(crate) why: String,
    /// Workers that were lost over it.
    pub(crate) losses: u32,
}

/// How a core is.
#[derive(Debug, Clone)]
pub(crate) struct WorkerStatus {
    pub(crate) state: WorkerState,
    /// What it is to hold.
    pub(crate) wanted: Vec<Arc<ServedModel>>,
    /// Counts the changes of `wanted`.
    pub(crate) revision: u64,
    /// What it holds; nothing while there is no worker.
    pub(crate) held: Vec<ModelId>,
    /// What it could not load.
    pub(crate) failed: BTreeMap<ModelId, LoadFailure>,
    /// The last losses, the latest last.
    pub(crate) incidents: VecDeque<Incident>,
    /// Workers that were started after the first one.
    pub(crate) restarts: u64,
}

/// A worker's cores.
#[derive(Debug)]
pub(crate) struct ServedWorker {
    /// Its number among the workers.
    pub(crate) index: usize,
    /// As the runtime writes them.
    pub(crate) name: Arc<str>,
    pub(crate) place: PlacedWorker,
    pub(crate) ledger: WorkerCounters,
    status: Mutex<WorkerStatus>,
    changed: Condvar,
}

impl ServedWorker {
    /// Cores that are to hold models, and hold nothing yet.
    pub(crate) fn new(index: usize, place: PlacedWorker, wanted: Vec<Arc<ServedModel>>) -> Self {
        Self {
            index,
            name: place.cores.to_string().into(),
            place,
            ledger: WorkerCounters::default(),
            status: Mutex::new(WorkerStatus {
                state: WorkerState::Starting,
                wanted,
                revision: 0,
                held: Vec::new(),
                failed: BTreeMap::new(),
                incidents: VecDeque::new(),
                restarts: 0,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn has(&self, core: u32) -> bool {
        self.place.cores.contains(core)
    }

    pub(crate) fn status(&self) -> WorkerStatus {
        self.lock().clone()
    }

    /// Counts the changes of what it is to hold.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub(crate) fn wants(&self, model: ModelId) -> bool {
        self.lock().wanted.iter().any(|wanted| wanted.id == model)
    }

    /// True when a request for the model would be answered here.
    pub(crate) fn is_ready_for(&self, model: ModelId) -> bool {
        let status = self.lock();
        matches!(status.state, WorkerState::Ready { .. }) && status.held.contains(&model)
    }

    /// From now on the core is to hold the model too; one that it could not load is tried again.
    pub(crate) fn want(&self, model: &Arc<ServedModel>) {
        self.rethink(model.id, |wanted| wanted.push(Arc::clone(model)));
    }

    /// From now on the core is not to hold the model.
    pub(crate) fn unwant(&self, model: ModelId) {
        self.rethink(model, |_| {});
    }

    fn rethink(&self, model: ModelId, then: impl FnOnce(&mut Vec<Arc<ServedModel>>)) {
        self.change(|status| {
            status.wanted.retain(|other| other.id != model);
            then(&mut status.wanted);
            status.revision += 1;
            status.failed.remove(&model);
            if matches!(status.state, WorkerState::Broken { .. }) {
                // It is tried again at once.
                status.state = WorkerState::Starting;
            }
        });
    }

    pub(crate) fn set_state(&self, state: WorkerState) {
        self.change(|status| status.state = state);
    }

    /// A worker was lost. With what the core was to hold at the revision `given_up`, no other one is tried
    /// soon: the core is broken, and this is true, if that is what it is to hold now.
    pub(crate) fn lost(&self, cause: &str, given_up: Option<u64>) -> bool {
        let cause = cause.to_owned();
        let mut is_broken = false;
        self.change(|status| {
            is_broken = given_up == Some(status.revision);
            if status.incidents.len() == INCIDENTS_MAX {
                status.incidents.pop_front();
            }
            status.incidents.push_back(Incident {
                at: SystemTime::now(),
                cause: cause.clone(),
            });
            status.held.clear();
            status.restarts += 1;
            status.state = match is_broken {
                true => WorkerState::Broken { cause },
                false => WorkerState::Down { cause },
            };
        });
        is_broken
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut WorkerStatus)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `is_it` is true of the core, but not beyond `ends`; the status then.
    pub(crate) fn wait(
        &self,
        ends: Instant,
        is_it: impl Fn(&WorkerStatus) -> bool,
    ) -> WorkerStatus {
        let left = ends.saturating_duration_since(Instant::now());
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), left, |status| !is_it(status));
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Waits until the core has closed its worker, which it does when the queue is closed and empty,
    /// but not beyond `ends`, and not for a worker that is only starting.
    pub(crate) fn wait_closed(&self, ends: Instant) {
        // What is still open then is killed with the server.
        self.wait(ends, |status| {
            matches!(status.state, WorkerState::Closed | WorkerState::Starting)
        });
    }

    /// WorkerStatus is replaced part by part: a panic while the lock is held leaves old and new parts, all
    /// of which were true.
    fn lock(&self) -> MutexGuard<'_, WorkerStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
