//! A worker as seen from this side: one process that holds the artifacts of its bundles.
//!
//! [`Worker`] is the process, [`Backend`] says what is started and in which environment, [`Diagnosis`]
//! why it failed.

mod backend;
mod choice;
mod diagnosis;
mod exchange;
mod log;
mod output;
pub mod simulated;
mod worker;

pub use backend::{Backend, EXEC_TIMEOUT, Preload};
pub use choice::backend_for;
pub use diagnosis::Diagnosis;
pub use output::split_rows;
pub use worker::{Begun, LoadError, RunError, Worker};
