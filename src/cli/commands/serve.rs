//! `neuronc serve`: places bundles on cores and serves them.

use std::fs::File;
use std::io::{IsTerminal as _, stderr};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::bundle::Check;
use crate::bundle::manifest::Manifest;
use crate::cleanup;
use crate::cli::environment::Environment;
use crate::cli::flags::access::AccessFlags;
use crate::cli::flags::addresses::AddressFlags;
use crate::cli::flags::placement::{NamedBundle, PlacementFlags};
use crate::cli::flags::runtime::RuntimeFlags;
use crate::cli::flags::simulation::SimulationFlags;
use crate::cli::resolve::bundles::{self, BundleToPlace, chip};
use crate::cli::resolve::machine::TargetMachine;
use crate::cli::resolve::simulation;
use crate::cli::terminal::print;
use crate::placement::Placement;
use crate::recipe::Task;
use crate::serve::config::Config;
use crate::serve::{
    self, Deployment, Limits, Listener, ListenerOptions, ListenerRole, Runtime, Shutdown,
};

const EXAMPLES: &str = "\
Examples:
  neuronc serve all-MiniLM-L6-v2-cpu --port 8080
  curl -d '{\"inputs\": \"a text\"}' http://127.0.0.1:8080/predict/all-MiniLM-L6-v2
  neuronc serve --model search=a.bundle@0-1 --model rank=b.bundle@2
  neuronc serve --config serve.yaml
  neuronc serve my-bundle --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --api-keys keys.yaml
  neuronc serve my-bundle --runtime simulated --instance inf2.xlarge

Exit codes: 0 stopped by SIGTERM or Ctrl-C, with every accepted request answered; 1 the models do not
fit; 2 not a bundle, cores that overlap or do not exist, or a port that is in use; 4 the bundle's
runtime is missing.";

/// Serve bundles over HTTP, one worker process per core.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ServeArgs {
    #[command(flatten)]
    placement: PlacementFlags,

    /// A file that says all of this; options of the command line win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    listen: AddressFlags,

    #[command(flatten)]
    access: AccessFlags,

    #[command(flatten)]
    runtime: RuntimeFlags,

    #[command(flatten)]
    simulation: SimulationFlags,
}

pub(in crate::cli) fn run(args: &ServeArgs, environment: &Environment) -> Result<()> {
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let flags = merged(&args.placement, &config)?;
    let opened = bundles::open(&flags, Check::Content)?;
    let (target, runtime) = args.runtime(&flags, &opened, environment)?;
    let placement = target.place(&flags, &opened, environment)?;
    let mut limits = config.limits(Limits::STANDARD)?;
    limits.connections = serve::places(config.connections(), placement.workers.len())?;
    start_log();
    let options = args.access.open(&config, environment)?;
    let listeners = args.listen.open(&config.listen, &placement)?;
    let stop = stop_signals()?;
    print::answer(&first_lines(
        &opened, &runtime, &placement, &listeners, &options,
    )?)?;
    let deployment = Deployment {
        bundles: opened.into_iter().map(|opened| opened.bundle).collect(),
        placement,
        profile: target.profile,
        runtime,
        log: File::from(
            stderr()
                .as_fd()
                .try_clone_to_owned()
                .context("sharing stderr")?,
        ),
        limits,
    };
    let outcome = serve::run(deployment, options, listeners, stop);
    // A worker that hangs must not outlive the server.
    cleanup::run();
    outcome
}

/// The options of the command line, completed from the file. Models come from the one or the other, never
/// from both.
fn merged(flags: &PlacementFlags, config: &Config) -> Result<PlacementFlags> {
    let mut flags = flags.clone();
    if flags.cores.is_none() {
        flags.cores = config.cores()?;
    }
    flags.models_per_core = flags.models_per_core.or(config.models_per_core);
    if flags.bundles.is_empty() && flags.model.is_empty() {
        for name in config.models.keys() {
            if let Some((bundle, cores)) = config.model(name)? {
                let name = name.clone();
                flags.model.push(NamedBundle {
                    name,
                    bundle,
                    cores,
                });
            }
        }
    }
    Ok(flags)
}

impl ServeArgs {
    /// The runtime of the batches, and the real or simulated machine that it runs on.
    fn runtime(
        &self,
        flags: &PlacementFlags,
        opened: &[BundleToPlace],
        environment: &Environment,
    ) -> Result<(TargetMachine, Runtime)> {
        self.simulation.check()?;
        if self.simulation.is_on() {
            self.runtime.refuse("a simulated device")?;
            let instance = self.simulation.instance.as_deref();
            let named = self.simulation.timings.as_deref();
            let (target, simulation) = simulation::machine(opened, instance, named)?;
            return Ok((target, Runtime::Simulated(simulation)));
        }
        chip(opened)?;
        let profile = opened[0].bundle.manifest.profile.clone();
        let backend = self.runtime.backend(&profile, environment)?;
        let target = TargetMachine::here(flags, profile, opened, &environment.places)?;
        Ok((target, Runtime::Processes(backend)))
    }
}

/// The first lines of the server: what is served where, and how to try it.
fn first_lines(
    opened: &[BundleToPlace],
    runtime: &Runtime,
    placement: &Placement,
    listeners: &[Listener],
    options: &ListenerOptions,
) -> Result<String> {
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let key = match options.keys {
        Some(_) => "-H 'authorization: Bearer KEY' ",
        None => "",
    };
    let names: Vec<&str> = opened.iter().map(|opened| opened.name.as_str()).collect();
    let runtime = match runtime {
        Runtime::Processes(backend) => backend.to_string(),
        Runtime::Simulated(simulation) => simulation::describe(opened, simulation)?,
    };
    let plans = opened.iter().map(|opened| &opened.bundle.manifest.plan);
    let buckets: usize = plans.map(|plan| plan.buckets.len()).sum();
    let address = listeners[0].socket.local_addr()?;
    let mut text = format!(
        "serving {} on {scheme}://{address} with {} and {}\n  \
         runtime: {runtime}\n  \
         try: curl {key}-d '{}' {scheme}://{address}/predict/{}",
        names.join(","),
        print::counted(placement.workers.len(), "worker"),
        print::counted(buckets, "bucket"),
        example(&opened[0].bundle.manifest),
        names[0],
    );
    for listener in listeners {
        let address = listener.socket.local_addr()?;
        match listener.role {
            ListenerRole::All => {}
            ListenerRole::Management => {
                text.push_str(&format!("\n  management: {scheme}://{address}"))
            }
            ListenerRole::Worker(index) => {
                let cores = &placement.workers[index].cores;
                text.push_str(&format!("\n  core {cores}: {scheme}://{address}"));
            }
        }
    }
    Ok(text)
}

/// The body of a request that the model of a bundle answers.
fn example(manifest: &Manifest) -> String {
    if manifest.plan.head.task() == Task::QuestionAnswering {
        return r#"{"inputs": {"question": "Who?", "context": "Ada wrote it."}}"#.to_owned();
    }
    let text = match &manifest.mask_token {
        Some(mask) => format!("a {mask} text"),
        None => "a text".to_owned(),
    };
    format!(r#"{{"inputs": {}}}"#, Value::from(text))
}

/// Logs go to stderr: as lines on a terminal, as JSON elsewhere.
fn start_log() {
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        // It would report on stderr that stderr cannot be written, and panic when that fails.
        .log_internal_errors(false)
        .with_env_filter(EnvFilter::new(
            "info,hf_hub=off,opentelemetry_sdk=warn,opentelemetry-otlp=warn",
        ));
    // Set only once: `serve` is the only command that logs.
    let _ = if stderr().is_terminal() {
        log.try_init()
    } else {
        log.json().try_init()
    };
}

/// A second Ctrl-C within this time counts as the first: a wrapper of the program passes it on as well.
const PASSED_ON: Duration = Duration::from_millis(500);

/// Receives what signals ask for; from this call on, they no longer end the process. SIGTERM stops with notice
/// to load balancers. A person who presses Ctrl-C needs no notice, and does not want to wait for running
/// requests when pressing it again.
fn stop_signals() -> Result<watch::Receiver<Shutdown>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watching for signals")?;
    let (sender, stop) = watch::channel(Shutdown::NotYet);
    thread::spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            let since = first.get_or_insert_with(Instant::now).elapsed();
            sender.send_modify(|stop| {
                *stop = match (*stop, signal) {
                    (Shutdown::NotYet, SIGINT) => Shutdown::WithoutNotice,
                    (Shutdown::NotYet, _) => Shutdown::WithNotice,
                    (_, SIGINT) if since >= PASSED_ON => Shutdown::WithoutDrain,
                    (told, _) => told,
                }
            });
        }
    });
    Ok(stop)
}
