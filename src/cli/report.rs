//! `neuronc report`.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::bundle::{Bundle, Check};
use crate::cli::output::{self, Format};
use crate::coverage::{BucketCoverage, Coverage, OperatorCount, percent};
use crate::failure::{Class, Failure};

const EXAMPLES: &str = "\
Examples:
  neuronc report my-model.bundle
  neuronc report my-model.bundle --min-coverage 95 --format json

Exit codes: 0 reported, and the gate is met; 1 coverage is below `--min-coverage`; 2 not a bundle.";

/// Show which operators of a bundle run on the chip.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A bundle that `neuronc trace` made.
    bundle: PathBuf,

    /// Fail when fewer percent of the arithmetic operators run on the chip.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    min_coverage: Option<f64>,

    /// How the report is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("give a number from 0 to 100".to_owned()),
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let coverage = Bundle::open(&args.bundle, Check::Sizes)?.coverage()?;
    match args.format {
        Format::Text => output::answer(&text(&coverage))?,
        Format::Json => output::json(&Answer {
            coverage_percent: coverage.percent(),
            coverage: &coverage,
        })?,
    }
    match args.min_coverage {
        Some(gate) if coverage.percent() < gate => Err(Failure::new(
            Class::Negative,
            format!("coverage {:.2} % is below {gate} %", coverage.percent()),
        )
        .into()),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    coverage_percent: f64,
    #[serde(flatten)]
    coverage: &'a Coverage,
}

fn text(coverage: &Coverage) -> String {
    let mut text = format!(
        "{} on {}: {:.2} % of the arithmetic operators run on the chip\n\n{:>8}  {:>9}  {:>7}  {:>7}  {:>8}\n",
        coverage.model,
        coverage.chip,
        coverage.percent(),
        "bucket",
        "operators",
        "on chip",
        "on host",
        "coverage",
    );
    for bucket in &coverage.buckets {
        let (on_chip, all) = bucket.counts();
        let _ = writeln!(
            text,
            "{:>8}  {all:>9}  {on_chip:>7}  {:>7}  {:>6.2} %",
            bucket.bucket.to_string(),
            all - on_chip,
            percent(on_chip, all),
        );
    }
    for (buckets, example) in distinct(&coverage.buckets) {
        let of = match buckets.len() == coverage.buckets.len() {
            true => "every bucket".to_owned(),
            false => format!("bucket {}", buckets.join(", ")),
        };
        push_list(&mut text, &format!("on the host in {of}"), &example.on_host);
        push_list(&mut text, &format!("on the chip in {of}"), &example.on_chip);
    }
    text
}

/// Buckets with the same operators, each group with one of them.
fn distinct(buckets: &[BucketCoverage]) -> Vec<(Vec<String>, &BucketCoverage)> {
    let mut groups: Vec<(Vec<String>, &BucketCoverage)> = Vec::new();
    for bucket in buckets {
        let name = bucket.bucket.to_string();
        let same = |known: &BucketCoverage| {
            known.on_chip == bucket.on_chip && known.on_host == bucket.on_host
        };
        match groups.iter_mut().find(|(_, known)| same(known)) {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], bucket)),
        }
    }
    groups
}

fn push_list(text: &mut String, title: &str, entries: &[OperatorCount]) {
    if entries.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:");
    for OperatorCount { operator, count } in entries {
        let _ = writeln!(text, "{count:>8}  {operator}");
    }
}
