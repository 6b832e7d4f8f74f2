//! What is served and how it does, for operators, `neuronc top` and the status page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runtime::simulated::SIMULATED;
use crate::serve::core::aliases::{Alias, AliasTarget};
use crate::serve::core::counters::WorkCounts;
use crate::serve::core::models::ServedModel;
use crate::serve::core::worker::{ServedWorker, WorkerState, WorkerStatus};
use crate::serve::request::view::ServerView;

/// Raised when a key of [`ServerStatus`] changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// `GET /admin/status`. Counts are since the start of the server: rates are differences of two answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ServerStatus {
    pub schema_version: u32,
    /// Seconds since 1970.
    pub now: f64,
    #[serde(flatten)]
    pub front: FrontStatus,
    pub cores: Vec<CoreStatus>,
    pub models: Vec<ModelStatus>,
    pub aliases: BTreeMap<String, AliasStatus>,
}

/// The server without its cores and models.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FrontStatus {
    pub version: String,
    /// `simulated` where no device computes the answers.
    pub runtime: String,
    /// The chip that models are compiled for.
    pub chip: String,
    pub machine: String,
    pub ready: bool,
    pub stopping: bool,
    pub uptime_seconds: f64,
    pub pid: u32,
}

/// A worker's cores.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CoreStatus {
    /// Such as `0`, or `0-3` of a worker that has several.
    pub core: String,
    pub device: String,
    /// `starting`, `ready`, `empty`, `down`, `broken` or `closed`.
    pub state: String,
    /// Of the worker.
    pub pid: Option<u32>,
    /// Why it is down.
    pub cause: Option<String>,
    /// Processors of the host that are its share.
    pub vcpus: Option<u32>,
    pub threads: usize,
    /// Estimated for its models.
    pub memory_bytes: u64,
    pub memory_limit_bytes: Option<u64>,
    pub models: Vec<HeldModel>,
    pub restarts: u64,
    /// The last losses of its worker, the latest last.
    pub incidents: Vec<IncidentStatus>,
    /// How long it worked, on what it works on as well.
    pub busy_seconds: f64,
    /// What is done.
    pub total: WorkDone,
    pub buckets: Vec<BucketWork>,
}

/// A model on a core.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct HeldModel {
    pub name: String,
    /// `loaded`, `loading` or `failed`.
    pub state: String,
    /// Why it could not be loaded.
    pub cause: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct IncidentStatus {
    /// Seconds since 1970.
    pub at: f64,
    pub cause: String,
}

/// What was run.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Work")]
pub struct WorkDone {
    pub batches: u64,
    pub rows: u64,
    pub padding_rows: u64,
    pub tokens: u64,
    pub padding_tokens: u64,
    pub busy_seconds: f64,
}

/// What was run in one bucket of one model.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BucketWork {
    pub model: String,
    /// Such as `8x128`.
    pub bucket: String,
    #[serde(flatten)]
    pub work: WorkDone,
}

/// A model that is served.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ModelStatus {
    pub name: String,
    /// The folder of its bundle.
    pub bundle: String,
    /// The sha256 of the bundle's manifest.
    pub digest: String,
    pub task: String,
    pub buckets: Vec<String>,
    pub cores: Vec<String>,
    pub ready: bool,
    /// Rows that wait.
    pub queue_rows: usize,
    /// How long those will take, as far as that is known.
    pub queue_seconds: Option<f64>,
}

/// A name that stands for several models.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AliasStatus {
    /// Their weights.
    pub models: BTreeMap<String, u32>,
    /// Those before, which a rollback brings back.
    pub previous: Option<BTreeMap<String, u32>>,
}

pub(super) async fn all(State(view): State<ServerView>) -> Json<ServerStatus> {
    let served = view.served();
    Json(ServerStatus {
        schema_version: SCHEMA_VERSION,
        now: seconds_of(SystemTime::now()),
        front: FrontStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime: match served.is_simulated() {
                true => SIMULATED.to_owned(),
                false => "actual".to_owned(),
            },
            chip: served.profile.name.clone(),
            machine: served.environment.machine.name.clone(),
            ready: view.is_ready(),
            stopping: served.is_stopping(),
            uptime_seconds: served.started.elapsed().as_secs_f64(),
            pid: std::process::id(),
        },
        cores: core_list(&view),
        models: model_list(&view),
        aliases: alias_map(&view),
    })
}

pub(super) async fn cores(State(view): State<ServerView>) -> Json<Vec<CoreStatus>> {
    Json(core_list(&view))
}

pub(super) async fn models(State(view): State<ServerView>) -> Json<Vec<ModelStatus>> {
    Json(model_list(&view))
}

pub(super) async fn aliases(State(view): State<ServerView>) -> Json<BTreeMap<String, AliasStatus>> {
    Json(alias_map(&view))
}

fn core_list(view: &ServerView) -> Vec<CoreStatus> {
    view.workers()
        .iter()
        .map(|core| core_status(core))
        .collect()
}

fn core_status(core: &ServedWorker) -> CoreStatus {
    let status = core.status();
    let (state, pid, cause) = words(&status.state);
    let models = status.wanted.iter();
    let incidents = status.incidents.iter().map(|incident| IncidentStatus {
        at: seconds_of(incident.at),
        cause: incident.cause.clone(),
    });
    let tallies = core.ledger.tallies();
    let buckets = tallies.iter().map(|((model, bucket), tally)| BucketWork {
        model: model.to_string(),
        bucket: bucket.to_string(),
        work: tally.into(),
    });
    let place = &core.place;
    CoreStatus {
        core: core.name.to_string(),
        device: place.devices.to_string(),
        state: state.to_owned(),
        pid,
        cause,
        vcpus: place.vcpus,
        threads: place.threads,
        memory_bytes: models.clone().map(|model| model.placed.memory.each()).sum(),
        memory_limit_bytes: place.memory_limit_bytes,
        models: models.map(|model| held(model, &status)).collect(),
        restarts: status.restarts,
        incidents: incidents.collect(),
        busy_seconds: core.ledger.busy().as_secs_f64(),
        total: (&core.ledger.total()).into(),
        buckets: buckets.collect(),
    }
}

/// A state in a word, with its process and its cause.
pub(in crate::serve::http) fn words(
    state: &WorkerState,
) -> (&'static str, Option<u32>, Option<String>) {
    match state {
        WorkerState::Starting => ("starting", None, None),
        WorkerState::Ready { process_id } => ("ready", *process_id, None),
        WorkerState::Empty => ("empty", None, None),
        WorkerState::Down { cause } => ("down", None, Some(cause.clone())),
        WorkerState::Broken { cause } => ("broken", None, Some(cause.clone())),
        WorkerState::Closed => ("closed", None, None),
    }
}

fn held(model: &ServedModel, status: &WorkerStatus) -> HeldModel {
    let failure = status.failed.get(&model.id);
    let cause = failure.map(|failure| failure.why.clone());
    let state = match (status.held.contains(&model.id), &cause) {
        (true, _) => "loaded",
        (false, Some(_)) => "failed",
        (false, None) => "loading",
    };
    HeldModel {
        name: model.name.to_string(),
        state: state.to_owned(),
        cause,
    }
}

fn model_list(view: &ServerView) -> Vec<ModelStatus> {
    let of = |model: &ServedModel| {
        let (queue_rows, wait) = view.served().queue.depth(model.id);
        let cores = view.workers().iter().filter(|core| core.wants(model.id));
        ModelStatus {
            name: model.name.to_string(),
            bundle: model.bundle.folder().display().to_string(),
            digest: model.bundle.digest().to_owned(),
            task: model.plan().head.task().to_string(),
            buckets: model
                .plan()
                .buckets
                .iter()
                .map(ToString::to_string)
                .collect(),
            cores: cores.map(|core| core.name.to_string()).collect(),
            ready: view.is_model_ready(model.id),
            queue_rows,
            queue_seconds: wait.map(|wait| wait.as_secs_f64()),
        }
    };
    view.models().iter().map(|model| of(model)).collect()
}

fn alias_map(view: &ServerView) -> BTreeMap<String, AliasStatus> {
    let weights = |targets: &[AliasTarget]| {
        let targets = targets.iter();
        targets
            .map(|target| (target.model.clone(), target.weight))
            .collect()
    };
    let aliases = view.served().models.aliases();
    let of = |(name, alias): (String, Arc<Alias>)| {
        let status = AliasStatus {
            models: weights(alias.targets()),
            previous: alias.previous().map(weights),
        };
        (name, status)
    };
    aliases.into_iter().map(of).collect()
}

impl From<&WorkCounts> for WorkDone {
    fn from(tally: &WorkCounts) -> Self {
        Self {
            batches: tally.batches,
            rows: tally.rows,
            padding_rows: tally.padding_rows,
            tokens: tally.tokens,
            padding_tokens: tally.padding_tokens,
            busy_seconds: tally.busy.as_secs_f64(),
        }
    }
}

fn seconds_of(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
