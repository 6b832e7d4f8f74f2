//! The coverage of a compilation: counted in the graphs where the compiler takes them whole, read from its
//! logs where it divides them.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use neuron_logs::reading::LogReading;

use crate::bucket::Bucket;
use crate::bundle::manifest::Artifact;
use crate::coverage::{Basis, BucketCoverage, Coverage, OperatorCount, SCHEMA_VERSION, census};
use crate::plan::Plan;
use crate::profile::ChipProfile;

/// The coverage of the artifacts of a bundle in `folder`.
pub(super) fn of(
    plan: &Plan,
    profile: &ChipProfile,
    artifacts: &[Artifact],
    folder: &Path,
) -> Result<Coverage> {
    let buckets = artifacts.iter().map(|artifact| {
        let graph = folder.join(&artifact.graph);
        let log = artifact.log.as_ref().map(|name| folder.join(name));
        match (log, profile.has_partitioner()) {
            (Some(log), true) => from_log(artifact.bucket, &log),
            (log, _) => {
                let basis = match log {
                    Some(_) => Basis::AllOrNothing,
                    None => Basis::Graph,
                };
                let operators = census::count(&graph)?;
                Ok(BucketCoverage::new(
                    artifact.bucket,
                    basis,
                    operators,
                    Vec::new(),
                ))
            }
        }
    });
    Ok(Coverage {
        schema_version: SCHEMA_VERSION,
        model: plan.name.clone(),
        chip: plan.chip.clone(),
        buckets: buckets.collect::<Result<_>>()?,
    })
}

/// The coverage that the log of one bucket's compilation states.
fn from_log(bucket: Bucket, path: &Path) -> Result<BucketCoverage> {
    let context = || format!("reading `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    let reading = neuron_logs::read(file).with_context(context)?;
    let lists = lists(&reading);
    let basis = match lists {
        Some(_) => Basis::Log,
        None => Basis::NotKnown,
    };
    let (on_chip, on_host) = lists.unwrap_or_default();
    Ok(BucketCoverage::new(bucket, basis, on_chip, on_host))
}

/// The operators that the last run in a log compiled, and those that it left to the host.
fn lists(reading: &LogReading) -> Option<(Vec<OperatorCount>, Vec<OperatorCount>)> {
    let run = reading.runs.last()?;
    let on_chip = run.compiled_operators.clone()?;
    let on_host = run
        .host_operators
        .iter()
        .flatten()
        .map(|entry| OperatorCount {
            operator: entry.operator.clone(),
            count: usize::try_from(entry.count).unwrap_or(usize::MAX),
        });
    Some((on_chip, on_host.collect()))
}
