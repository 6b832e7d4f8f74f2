//! The server: an async front that parses, tokenizes and batches, and one worker process for each
//! worker of a placement.
//!
//! Three layers. `core` has the models, the queue and the workers, and knows no protocol. `request` is the way
//! of a request of any protocol: what it may take, its run, and why it is refused. `http` has the protocols,
//! one file or folder each, and all that is about connections. Text never reaches a worker.
//!
//! Beside them are `limits`, `listener` (the ports), `shutdown`, and `config` (serve.yaml).

pub mod config;
mod core;
mod http;
mod limits;
mod listener;
mod request;
mod shutdown;

pub use crate::serve::core::names::check_model_name;
pub use crate::serve::core::runtime::Runtime;
pub use crate::serve::core::state::Deployment;
pub use crate::serve::http::{
    Keys, ListenerOptions, Tls, Traces, check_key_name, openapi, places, status,
};
pub use crate::serve::limits::Limits;
pub use crate::serve::listener::{Listener, ListenerRole, listen};
pub use crate::serve::shutdown::Shutdown;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

use crate::serve::core::state::ServedState;
use crate::serve::request::frontend::Frontend;

/// Serves until `shutdown` says otherwise, then answers what was accepted and ends. Workers that do not
/// close in time are left to `cleanup`.
pub fn run(
    deployment: Deployment,
    options: ListenerOptions,
    listeners: Vec<Listener>,
    shutdown: watch::Receiver<Shutdown>,
) -> Result<()> {
    let options = Arc::new(options);
    let frontend = Frontend::new(ServedState::start(deployment)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let served = http::serve(
        Arc::clone(&frontend),
        Arc::clone(&options),
        listeners,
        shutdown,
    );
    let outcome = runtime.block_on(served);
    // Requests that outlived the drain must not keep the process.
    runtime.shutdown_background();
    frontend.served.close(outcome.is_err());
    if let Some(traces) = &options.traces {
        traces.close(frontend.served.limits.close);
    }
    outcome
}
