//! The options of the simulated device: what `serve`, `bench` and `place` have in common.

use anyhow::Result;
use clap::ValueEnum;

use crate::cli::placing::{Opened, Site, chip};
use crate::failure::Failure;
use crate::runtime::simulated::{SIMULATED, Simulation};
use crate::timings::Timings;

/// What runs the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RuntimeKind {
    /// What the bundle was compiled for.
    Actual,
    /// Nothing: each batch takes the published time of a chip, and the answers mean nothing.
    Simulated,
}

/// Whether a device is simulated, and which.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct SimulationFlags {
    /// What runs the batches.
    #[arg(
        long,
        value_enum,
        default_value = "actual",
        help_heading = "Simulation"
    )]
    pub(super) runtime: RuntimeKind,

    /// The instance that is simulated, one of `neuronc chips` [default: the one on which the times
    /// were measured].
    #[arg(long, value_name = "INSTANCE", help_heading = "Simulation")]
    pub(super) instance: Option<String>,

    /// Whose times batches take: a name such as inf2/bert-base-uncased, or a file of your own
    /// [default: those of the model's shape].
    #[arg(long, value_name = "NAME|FILE", help_heading = "Simulation")]
    pub(super) timings: Option<String>,
}

impl SimulationFlags {
    pub(super) fn is_on(&self) -> bool {
        self.runtime == RuntimeKind::Simulated
    }

    /// Refuses options that would do nothing.
    pub(super) fn check(&self) -> Result<()> {
        let given = [
            ("--instance", self.instance.is_some()),
            ("--timings", self.timings.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) if self.runtime == RuntimeKind::Actual => Err(Failure::usage(format!(
                "`{flag}` is for a simulated device"
            ))
            .help("add `--runtime simulated`")
            .into()),
            _ => Ok(()),
        }
    }
}

/// The times of each opened bundle.
pub(super) fn timings(opened: &[Opened], simulation: &Simulation) -> Result<Vec<Timings>> {
    let plans = opened.iter().map(|opened| &opened.bundle.manifest.plan);
    plans.map(|plan| simulation.timings(plan)).collect()
}

/// The machine that is simulated for the opened bundles, and the device.
pub(super) fn site(
    opened: &[Opened],
    instance: Option<&str>,
    named: Option<&str>,
) -> Result<(Site, Simulation)> {
    let site = instance.map(|name| Site::instance(name, None, opened));
    let site = site.transpose()?;
    let chip = match &site {
        Some(site) => &site.profile.name,
        None => chip(opened)?,
    };
    let simulation = Simulation::new(chip, named);
    let timings = timings(opened, &simulation)?;
    let site = match (site, timings.first()) {
        (Some(site), _) => site,
        (None, Some(first)) => Site::instance(&first.model.instance, None, opened)?,
        (None, None) => return Err(Failure::usage("no bundle is given").into()),
    };
    check(&timings, &site)?;
    Ok((site, simulation))
}

/// Refuses times of another chip than that of `site`.
pub(super) fn check(timings: &[Timings], site: &Site) -> Result<()> {
    match timings
        .iter()
        .find(|timings| timings.chip != site.profile.name)
    {
        Some(other) => Err(Failure::usage(format!(
            "timings `{}` are of another chip than {}",
            other.name, site.machine.name
        ))
        .help("give `--timings` and `--instance` of one chip")
        .into()),
        None => Ok(()),
    }
}

/// What is simulated, in words.
pub(super) fn describe(opened: &[Opened], simulation: &Simulation) -> Result<String> {
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
