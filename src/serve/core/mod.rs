//! The core of the server: models, the queue, and the workers that run batches. It knows no protocol.
//!
//! A request's rows are `job`s, which wait in the `queue`, one `model_queue` for each model, until `batcher`
//! chooses those that run together. Each worker has a thread, its `supervisor`, in which a `worker_loop` gives
//! batches to a `device`: a `process`, or a `simulated` one. `restarts` says when a lost device is started
//! again, `quarantine` which rows are not run again, and `throughput` how long a queue takes. `models` and
//! `aliases` are what can be asked for; `management` changes them while the server runs. `counters` and
//! `statistics` count what was done.

pub(crate) mod aliases;
pub(crate) mod batcher;
pub(crate) mod counters;
pub(crate) mod device;
pub(crate) mod histogram;
pub(crate) mod job;
pub(crate) mod management;
pub(crate) mod model_queue;
pub(crate) mod models;
pub(crate) mod names;
pub(crate) mod process;
pub(crate) mod quarantine;
pub(crate) mod queue;
pub(crate) mod restarts;
pub(crate) mod runtime;
pub(crate) mod simulated;
pub(crate) mod state;
pub(crate) mod statistics;
pub(crate) mod supervisor;
pub(crate) mod throughput;
pub(crate) mod worker;
pub(crate) mod worker_loop;
