//! The options of a simulated device: what `serve` and `bench` have in common.

use anyhow::Result;
use clap::ValueEnum;

use crate::failure::Failure;

/// What runs the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum RuntimeKind {
    /// What the bundle was compiled for.
    Actual,
    /// Nothing: each batch takes the published time of a chip, and the answers mean nothing.
    Simulated,
}

/// The choice of a simulated device.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::cli) struct SimulationFlags {
    /// What runs the batches.
    #[arg(
        long,
        value_enum,
        default_value = "actual",
        help_heading = "Simulation"
    )]
    pub(in crate::cli) runtime: RuntimeKind,

    /// The instance that is simulated, one of `neuronc chips` [default: the one on which the times
    /// were measured].
    #[arg(long, value_name = "INSTANCE", help_heading = "Simulation")]
    pub(in crate::cli) instance: Option<String>,

    /// Whose times batches take: a name such as inf2/bert-base-uncased, or a file of your own
    /// [default: those of the model's shape].
    #[arg(long, value_name = "NAME|FILE", help_heading = "Simulation")]
    pub(in crate::cli) timings: Option<String>,
}

impl SimulationFlags {
    pub(in crate::cli) fn is_on(&self) -> bool {
        self.runtime == RuntimeKind::Simulated
    }

    /// Refuses options that have no effect.
    pub(in crate::cli) fn check(&self) -> Result<()> {
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
