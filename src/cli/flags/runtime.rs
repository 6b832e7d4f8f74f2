//! The options of `serve` and `verify` that select the runtime of a Neuron chip.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::environment::Environment;
use crate::failure::Failure;
use crate::profile::ChipProfile;
use crate::runtime::{self, Backend};

/// The SDK and the plugin that run artifacts; bundles for cpu need neither.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RuntimeFlags {
    /// The Neuron SDK: a virtual environment or an interpreter [default: the places that the chip's
    /// profile names, then `python3` on PATH].
    #[arg(long, value_name = "PATH", help_heading = "Runtime")]
    sdk: Option<PathBuf>,

    /// A libtorchneuron.so to open, instead of that of the SDK's environment.
    #[arg(long, value_name = "FILE", help_heading = "Runtime")]
    plugin: Option<PathBuf>,
}

impl RuntimeFlags {
    /// Refuses options that have no effect, since `runner` runs the bundle.
    pub(in crate::cli) fn refuse(&self, runner: &str) -> Result<()> {
        let given = [
            ("--sdk", self.sdk.is_some()),
            ("--plugin", self.plugin.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(Failure::usage(format!(
                "`{flag}` is for a bundle that runs on a Neuron chip"
            ))
            .why(format!("{runner} runs this one"))
            .help("leave it out")
            .into()),
            None => Ok(()),
        }
    }

    /// The backend that runs artifacts for the chip of `profile` on this machine.
    pub(in crate::cli) fn backend(
        &self,
        profile: &ChipProfile,
        environment: &Environment,
    ) -> Result<Backend> {
        if profile.compiler.kind.is_host() {
            self.refuse("libtorch on the processor")?;
        }
        let mut places = environment.places.clone();
        places.sdk.clone_from(&self.sdk);
        runtime::backend_for(profile, &places, self.plugin.as_deref())
    }
}
