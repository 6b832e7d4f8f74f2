//! `neuronc verify`: runs every bucket of a bundle and compares with its reference outputs.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::bundle::{Bundle, Check};
use crate::cli::environment::Environment;
use crate::cli::flags::runtime::RuntimeFlags;
use crate::cli::terminal::print::{self, AnswerFormat};
use crate::cli::terminal::progress_bars::Bars;
use crate::failure::{Class, Failure};
use crate::placement::model;
use crate::runtime::Worker;
use crate::verify::{self, Verification};

const EXAMPLES: &str = "\
Examples:
  neuronc verify my-model.bundle
  neuronc verify my-model.bundle --format json

Exit codes: 0 every bucket is within the tolerance; 1 one is not; 2 not a bundle, or a damaged one;
4 the bundle's runtime is missing.";

/// Run every bucket and compare with the reference outputs sealed in the bundle.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct VerifyArgs {
    /// A bundle that `neuronc trace` made.
    bundle: PathBuf,

    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,

    #[command(flatten)]
    runtime: RuntimeFlags,
}

pub(in crate::cli) fn run(args: &VerifyArgs, environment: &Environment) -> Result<()> {
    let bundle = Bundle::open(&args.bundle, Check::Content)?;
    let profile = bundle.manifest.profile.clone();
    let plan = &bundle.manifest.plan;
    let backend = args.runtime.backend(&profile, environment)?;
    let cores = model::unplaced(plan, &profile)?.environment;
    let backend = backend.on_cores(cores, &format!("neuronc {}", plan.name));
    let log = tempfile::tempfile().context("creating a log for the worker")?;
    let threads = std::thread::available_parallelism()?.get();
    let mut worker = Worker::start(&backend, &bundle, threads, log)?;
    let bar = Bars::new().buckets(bundle.manifest.artifacts.len(), "verifying");
    let verification = verify::verify(&bundle, &mut worker, &mut |_| bar.advance())?;
    drop(bar);
    match args.format {
        AnswerFormat::Text => print::answer(&text(&verification))?,
        AnswerFormat::Json => print::json(&verification)?,
    }
    if verification.passed {
        return Ok(());
    }
    Err(Failure::new(
        Class::Negative,
        "the bundle does not compute what the model does",
    )
    .help("trace the model again; with a cast, choose a milder `--auto-cast`")
    .into())
}

fn text(verification: &Verification) -> String {
    let buckets = &verification.buckets;
    let passed = buckets.iter().filter(|bucket| bucket.passed).count();
    let worst = buckets
        .iter()
        .map(|bucket| bucket.difference.max_abs)
        .fold(0.0, f64::max);
    let cosine = buckets
        .iter()
        .map(|bucket| bucket.difference.min_cosine)
        .fold(1.0, f64::min);
    let mut text = format!(
        "{}: {passed} of {} buckets agree with the fp32 reference\n\
         largest difference {worst:.1e} (at most {:.1e}), smallest cosine {cosine:.7} (at least {})\n\n\
         {:>8}  {:>5}  {:>10}  {:>10}  {:>10}  result\n",
        if verification.passed {
            "verified"
        } else {
            "FAILED"
        },
        buckets.len(),
        verification.tolerance.max_abs,
        verification.tolerance.min_cosine,
        "bucket",
        "rows",
        "max diff",
        "min cosine",
        "not finite",
    );
    for bucket in buckets {
        let _ = writeln!(
            text,
            "{:>8}  {:>5}  {:>10.1e}  {:>10.7}  {:>10}  {}",
            bucket.bucket.to_string(),
            bucket.difference.rows,
            bucket.difference.max_abs,
            bucket.difference.min_cosine,
            bucket.difference.non_finite,
            if bucket.passed { "ok" } else { "FAILED" },
        );
    }
    text
}
