//! `neuronc bench`: measures a server, or a bundle that it serves meanwhile.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use tokio::sync::watch;

use crate::bench::child::ChildServer;
use crate::bench::load::{self, BenchOptions, LoadPattern, Until};
use crate::bench::search::Promise;
use crate::bench::target::{BODY, BenchTarget};
use crate::bench::texts::{Lengths, TextSource};
use crate::bench::{self, BenchReport, RunReport, report_csv, report_html, report_text};
use crate::bundle::Bundle;
use crate::cleanup;
use crate::cli::environment::Environment;
use crate::cli::flags::duration;
use crate::cli::flags::simulation::SimulationFlags;
use crate::cli::terminal::interrupt;
use crate::cli::terminal::print;
use crate::command::Program;
use crate::failure::{Class, Failure};
use crate::files;
use crate::trust::Trust;

const EXAMPLES: &str = "\
Examples:
  neuronc bench http://127.0.0.1:8080 --concurrency 1,8,32
  neuronc bench my-bundle --cores 2 --rate 200 --duration 60s
  neuronc bench http://127.0.0.1:8080/predict/my-model --slo p99=20ms -o report.html --format html
  neuronc bench https://127.0.0.1:8443 --ca-cert cert.pem
  neuronc bench my-bundle --runtime simulated --instance inf2.xlarge

Exit codes: 0 every request was answered; 1 one was not, no server answers, or the promise of --slo
held at no rate; 2 not a URL or a bundle; 130 interrupted.";

/// Put load on a server, or on a bundle, and measure rate and latency.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct BenchArgs {
    /// A URL such as http://127.0.0.1:8080/predict/my-model, or a bundle, which is served meanwhile.
    #[arg(value_name = "URL|BUNDLE")]
    target: String,

    /// Clients that each wait for their answer (closed loop); several numbers are measured in turn
    /// [default: 1,8,32].
    #[arg(long, value_name = "N,...", value_delimiter = ',', conflicts_with_all = ["rate", "slo"])]
    concurrency: Vec<usize>,

    /// Requests a second, sent whether or not answers come (open loop); with --slo, the rate to begin
    /// with.
    #[arg(long, value_name = "R,...", value_delimiter = ',')]
    rate: Vec<f64>,

    /// Find the highest rate at which a promise holds, such as p99=20ms.
    #[arg(long, value_name = "PROMISE")]
    slo: Option<Promise>,

    /// How long each load is measured.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,

    /// Measure this number of requests instead.
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,

    /// The same load ahead of that, which is not counted.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    warm_up: Duration,

    /// A request that takes longer counts as an error.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,

    /// The most connections of an open loop.
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// Texts, one a line, sent in turn.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Requests",
        conflicts_with = "words"
    )]
    texts: Option<PathBuf>,

    /// Lengths of the texts that are made, in words: numbers and ranges, each as likely.
    #[arg(
        long,
        value_name = "N,N-M,...",
        default_value = "4,8,12,20,40,80",
        help_heading = "Requests"
    )]
    words: Lengths,

    /// Other texts; the same seed makes the same ones.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Requests")]
    seed: u64,

    /// The body of a request, with {text} where the text goes.
    #[arg(long, value_name = "JSON", default_value = BODY, help_heading = "Requests")]
    body: String,

    /// A header of every request.
    #[arg(long, value_name = "NAME: VALUE", help_heading = "Requests")]
    header: Vec<String>,

    /// Of an https:// URL, trust the certificates of a PEM file in place of those of the system: that
    /// of a CA, or the server's own.
    #[arg(long, value_name = "FILE", help_heading = "Requests")]
    ca_cert: Option<PathBuf>,

    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: BenchFormat,

    /// Write it to a file.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,

    /// With a bundle: the cores of its server, as for `serve`.
    #[arg(long, value_name = "N|LIST", help_heading = "Server")]
    cores: Option<String>,

    #[command(flatten)]
    simulation: SimulationFlags,
}

/// The formats of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BenchFormat {
    Text,
    Json,
    Csv,
    Html,
}

pub(in crate::cli) fn run(args: &BenchArgs, environment: &Environment) -> Result<()> {
    args.check()?;
    if let Some(path) = &args.output {
        files::check_writable(path)?;
    }
    let folder = tempfile::tempdir().context("creating a folder for the server's log")?;
    let _registration = cleanup::folder(folder.path());
    let interruption = interrupt::clean_up_on_signals()?;
    let mut server = if args.is_elsewhere() {
        None
    } else {
        Some(args.start(environment, folder.path())?)
    };
    let url = server.as_ref().map_or(&args.target, |server| &server.url);
    let trust = Trust::new(args.ca_cert.as_deref())?;
    let target = BenchTarget::parse(url, trust, &args.body, &args.header)?;
    let measured = args.measure(target, server.as_mut(), &interruption);
    let report = load::block_on(measured)??;
    drop(server);
    if report.runs.is_empty() {
        return verdict(&report);
    }
    let shown = match args.format {
        BenchFormat::Text => report_text::text(&report),
        BenchFormat::Json => serde_json::to_string_pretty(&report)?,
        BenchFormat::Csv => report_csv::csv(&report),
        BenchFormat::Html => report_html::html(&report),
    };
    match &args.output {
        None => print::answer(&shown)?,
        Some(path) => files::write(path, shown.as_bytes())?,
    }
    verdict(&report)
}

impl BenchArgs {
    fn check(&self) -> Result<()> {
        let is_rate = |rate: &&f64| rate.is_finite() && (0.01..=1e6).contains(*rate);
        if let Some(rate) = self.rate.iter().find(|rate| !is_rate(rate)) {
            return Err(Failure::usage(format!("`--rate {rate}` is out of range"))
                .help("give requests a second, from 0.01 to 1000000")
                .into());
        }
        let mut clients = self.concurrency.iter();
        if let Some(clients) = clients.find(|clients| !(1..=20_000).contains(*clients)) {
            return Err(
                Failure::usage(format!("`--concurrency {clients}` is out of range"))
                    .help("give 1 to 20000 clients")
                    .into(),
            );
        }
        if self.slo.is_some() && self.rate.len() > 1 {
            return Err(Failure::usage("`--slo` begins with one rate")
                .help("give `--rate` one number, or leave it out")
                .into());
        }
        self.simulation.check()?;
        let for_bundles = [
            ("--cores", self.cores.is_some()),
            ("--runtime simulated", self.simulation.is_on()),
        ];
        let surplus = for_bundles.iter().find(|(_, is_given)| *is_given);
        match surplus {
            Some((option, _)) if self.is_elsewhere() => {
                Err(Failure::usage(format!("`{option}` is for a bundle"))
                    .why(format!("`{}` is a server that runs already", self.target))
                    .help("give it to its `neuronc serve`")
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// True when the target is a server, and not a bundle.
    fn is_elsewhere(&self) -> bool {
        self.target.contains("://")
    }

    fn loads(&self) -> Vec<LoadPattern> {
        match (self.rate.as_slice(), self.concurrency.as_slice()) {
            ([], []) => [1, 8, 32].map(LoadPattern::Concurrency).to_vec(),
            ([], clients) => clients
                .iter()
                .copied()
                .map(LoadPattern::Concurrency)
                .collect(),
            (rates, _) => rates.iter().copied().map(LoadPattern::Rate).collect(),
        }
    }

    async fn measure(
        &self,
        mut target: BenchTarget,
        server: Option<&mut ChildServer>,
        interruption: &watch::Sender<bool>,
    ) -> Result<BenchReport> {
        let mut process = None;
        match server {
            Some(server) => {
                process = Some(server.process_id());
                server.wait_ready(&target).await?;
            }
            None => {
                target.check().await?;
                target.resolve().await?;
            }
        }
        let source = match &self.texts {
            Some(file) => TextSource::file(file)?,
            None => TextSource::made(self.words.clone()),
        };
        let options = BenchOptions {
            source,
            seed: self.seed,
            warm_up: self.warm_up,
            until: self
                .requests
                .map_or(Until::After(self.duration), Until::Requests),
            timeout: self.timeout,
            connections: self.connections as usize,
            server: process.or_else(|| bench::server_process(&target)),
            // From here on Ctrl-C ends the run with a report, rather than the process.
            interrupted: interruption.subscribe(),
        };
        // Where stderr is not a terminal nobody watches, and the result has everything.
        let is_watched = stderr().is_terminal();
        let progress = &mut |run: &RunReport| {
            if is_watched {
                print::remark(report_text::row(run).trim());
            }
        };
        match self.slo {
            None => bench::measure(&target, &options, &self.loads(), progress).await,
            Some(promise) => {
                let first = self.rate.first().copied().unwrap_or(10.0);
                bench::search(&target, &options, (promise, first), progress).await
            }
        }
    }

    /// Serves the bundle in a process of its own.
    fn start(&self, environment: &Environment, folder: &Path) -> Result<ChildServer> {
        let bundle = Path::new(&self.target);
        if !Bundle::is_at(bundle) {
            return Err(
                Failure::usage(format!("`{}` is neither a URL nor a bundle", self.target))
                    .why("it begins with neither http:// nor https://, and it has no `manifest.json`")
                    .help("begin a URL with http://, or make a bundle with `neuronc trace MODEL -o BUNDLE`")
                    .into(),
            );
        }
        let mut args: Vec<OsString> = vec!["serve".into(), bundle.into()];
        args.extend(["--port", "0"].map(OsString::from));
        let simulated = ["--runtime", "simulated"].map(|word| Some(word.to_owned()));
        let more = [
            ("--cores", &self.cores),
            ("--instance", &self.simulation.instance),
            ("--timings", &self.simulation.timings),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                args.extend([name.into(), value.into()]);
            }
        }
        if self.simulation.is_on() {
            args.extend(simulated.into_iter().flatten().map(OsString::from));
        }
        let program = Program {
            path: environment.places.executable.clone(),
            args,
            environment: environment.of_ourselves(),
        };
        ChildServer::start(&program, &folder.join("serve.log"))
    }
}

/// The outcomes of failed requests, such as `31 x status 422`, and the reasons of the first refusals.
fn outcomes(report: &BenchReport) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut reasons: BTreeMap<u16, &str> = BTreeMap::new();
    for run in &report.runs {
        let said = run.counts.reasons.iter();
        reasons.extend(said.map(|(status, reason)| (*status, reason.as_str())));
        let refused = run.counts.statuses.iter();
        let refused = refused.filter(|(status, _)| !(200..300).contains(*status));
        let refused = refused.map(|(status, count)| (format!("status {status}"), *count));
        let failed = run.counts.errors.iter();
        for (what, count) in refused.chain(failed.map(|(what, count)| (what.clone(), *count))) {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    let counts = counts
        .iter()
        .map(|(what, count)| format!("{count} x {what}"));
    let mut text = counts.collect::<Vec<_>>().join(", ");
    for (status, reason) in reasons {
        text.push_str(&format!("\n{status}: {reason}"));
    }
    text
}

/// The failure behind the exit code: an interruption, a broken promise or failed requests.
fn verdict(report: &BenchReport) -> Result<()> {
    if report.interrupted {
        let what = match report.runs.len() {
            0 => "interrupted before anything was measured",
            _ => "interrupted; what was measured until then is shown",
        };
        return Err(Failure::new(Class::Interrupted, what).into());
    }
    if let Some(promised) = report.promise
        && promised.highest_rate.is_none()
    {
        let what = format!("{} held at no rate that was tried", promised.promise);
        return Err(Failure::new(Class::Negative, what)
            .help("begin lower with `--rate`, or promise less")
            .into());
    }
    let failed = report.failures();
    match failed {
        0 if report.runs.iter().all(|run| run.counts.requests > 0) => Ok(()),
        0 => Err(Failure::new(Class::Negative, "no request was measured")
            .help("measure for longer with `--duration`, or count with `--requests`")
            .into()),
        _ => Err(Failure::new(
            Class::Negative,
            match failed {
                1 => "a request failed".to_owned(),
                _ => format!("{failed} requests failed"),
            },
        )
        .why(outcomes(report))
        .into()),
    }
}
