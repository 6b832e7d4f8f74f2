//! `neuronc serve`.

use std::fs::File;
use std::io::{IsTerminal as _, stderr};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::bundle::{Bundle, Check};
use crate::cleanup;
use crate::cli::environment::Environment;
use crate::cli::output;
use crate::runtime::Backend;
use crate::serve::{self, Deployment, Limits};

const EXAMPLES: &str = "\
Examples:
  neuronc serve all-MiniLM-L6-v2-cpu --port 8080
  curl -d '{\"inputs\": \"a text\"}' http://127.0.0.1:8080/predict/all-MiniLM-L6-v2

Exit codes: 0 stopped by SIGTERM or Ctrl-C, with every accepted request answered; 2 not a bundle,
or the port is in use; 4 the bundle's runtime is missing.";

/// Serve a bundle over HTTP, one worker process per core.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A bundle that `neuronc trace` made.
    bundle: PathBuf,

    /// The address to listen on; other machines reach only what is not on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,

    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// Worker processes [default: one per processor].
    #[arg(long, value_name = "N")]
    cores: Option<NonZeroUsize>,
}

pub(super) fn run(args: &Args, environment: &Environment) -> Result<()> {
    let bundle = Bundle::open(&args.bundle, Check::Content)?;
    let plan = &bundle.manifest.plan;
    let backend = Backend::host(environment.places.runtime(plan.compiler, &plan.chip)?);
    let listener = serve::listen(SocketAddr::new(args.host, args.port))?;
    start_log();
    let stop = stop_signal()?;

    let processors = thread::available_parallelism()?;
    let cores = args.cores.unwrap_or(processors).get();
    let name = &plan.name;
    output::answer(&format!(
        "serving {name} on http://{address} with {cores} workers and {buckets} buckets\n  \
         runtime: {backend}\n  \
         try: curl -d '{example}' http://{address}/predict/{name}",
        address = listener.local_addr()?,
        buckets = plan.buckets.len(),
        example = example(plan.head.task()),
    ))?;
    let deployment = Deployment {
        bundle,
        backend,
        cores,
        threads: (processors.get() / cores).max(1),
        log: File::from(
            stderr()
                .as_fd()
                .try_clone_to_owned()
                .context("sharing stderr")?,
        ),
        limits: Limits::STANDARD,
    };
    let outcome = serve::run(deployment, listener, stop);
    // A worker that hangs must not outlive the server.
    cleanup::run();
    outcome
}

/// A request that the task answers.
fn example(task: crate::recipe::Task) -> &'static str {
    use crate::recipe::Task;
    match task {
        Task::QuestionAnswering => {
            r#"{"inputs": {"question": "Who?", "context": "Ada wrote it."}}"#
        }
        Task::FillMask => r#"{"inputs": "a [MASK] text"}"#,
        _ => r#"{"inputs": "a text"}"#,
    }
}

/// Logs go to stderr: as lines on a terminal, as JSON elsewhere.
fn start_log() {
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_env_filter(EnvFilter::new("info,hf_hub=off"));
    // Set only once: `serve` is the only command that logs.
    let _ = match stderr().is_terminal() {
        true => log.try_init(),
        false => log.json().try_init(),
    };
}

/// Done when the process is told to stop; from this call on, a signal no longer ends it.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    let (sender, told) = oneshot::channel();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            // A server that has already failed need not be told.
            let _ = sender.send(());
        }
    });
    Ok(async {
        if told.await.is_err() {
            std::future::pending().await
        }
    })
}
