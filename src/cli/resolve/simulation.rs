//! The simulated device for bundles: its machine, its times, and its description.

use anyhow::Result;

use crate::cli::resolve::bundles::{BundleToPlace, chip};
use crate::cli::resolve::machine::TargetMachine;
use crate::failure::Failure;
use crate::runtime::simulated::{SIMULATED, Simulation};
use crate::timings::Timings;

/// The times of each opened bundle.
pub(in crate::cli) fn timings(
    opened: &[BundleToPlace],
    simulation: &Simulation,
) -> Result<Vec<Timings>> {
    let plans = opened.iter().map(|opened| &opened.bundle.manifest.plan);
    plans.map(|plan| simulation.timings(plan)).collect()
}

/// The simulated machine for the opened bundles, and its device. Without `instance`, the machine is the one on
/// which the times were measured.
pub(in crate::cli) fn machine(
    opened: &[BundleToPlace],
    instance: Option<&str>,
    named: Option<&str>,
) -> Result<(TargetMachine, Simulation)> {
    let target = instance.map(|name| TargetMachine::instance(name, None, opened));
    let target = target.transpose()?;
    let chip = match &target {
        Some(target) => &target.profile.name,
        None => chip(opened)?,
    };
    let simulation = Simulation::new(chip, named);
    let timings = timings(opened, &simulation)?;
    let target = match (target, timings.first()) {
        (Some(target), _) => target,
        (None, Some(first)) => TargetMachine::instance(&first.model.instance, None, opened)?,
        (None, None) => return Err(Failure::usage("no bundle is given").into()),
    };
    check(&timings, &target)?;
    Ok((target, simulation))
}

/// Refuses times of another chip than that of `target`.
pub(in crate::cli) fn check(timings: &[Timings], target: &TargetMachine) -> Result<()> {
    match timings
        .iter()
        .find(|timings| timings.chip != target.profile.name)
    {
        Some(other) => Err(Failure::usage(format!(
            "timings `{}` are of another chip than {}",
            other.name, target.machine.name
        ))
        .help("give `--timings` and `--instance` of one chip")
        .into()),
        None => Ok(()),
    }
}

/// A sentence about the simulated device.
pub(in crate::cli) fn describe(
    opened: &[BundleToPlace],
    simulation: &Simulation,
) -> Result<String> {
    let models = opened.iter().map(|opened| {
        let model = simulation.open(&opened.bundle)?;
        Ok(model.to_string())
    });
    let models: Vec<String> = models.collect::<Result<_>>()?;
    Ok(format!(
        "{SIMULATED}: no device computes; {}",
        models.join(", ")
    ))
}
