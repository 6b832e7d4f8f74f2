//! The machine that bundles are placed on: an instance by its name, or the one that we run on.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cli::environment::Environment;
use crate::cli::flags::placement::PlacementFlags;
use crate::cli::resolve::bundles::{BundleToPlace, core_size};
use crate::cli::terminal::print;
use crate::executor::probe::Places;
use crate::failure::{Failure, known_names, name_list};
use crate::host_memory::HostMemory;
use crate::placement::cores::{Cores, NUM_CORES, VISIBLE_CORES, Wanted};
use crate::placement::machine::Machine;
use crate::placement::memory::ModelTensors;
use crate::placement::model::Model;
use crate::placement::{self, Placement};
use crate::profile::{self, ChipProfile};

/// The machine, and the profile of the chip that its cores belong to.
#[derive(Debug)]
pub(in crate::cli) struct TargetMachine {
    pub(in crate::cli) machine: Machine,
    pub(in crate::cli) profile: ChipProfile,
}

impl TargetMachine {
    /// The instance type `name`, of the chip in the user's `file`, or else of any chip that neuronc knows.
    pub(in crate::cli) fn instance(
        name: &str,
        file: Option<&Path>,
        opened: &[BundleToPlace],
    ) -> Result<Self> {
        let profile = match file {
            Some(file) => profile::load_file(file)?,
            None => profile_with(name)?,
        };
        let machine = Machine::instance(&profile, name, core_size(opened, &profile)?)?;
        Ok(Self { machine, profile })
    }

    /// The machine that this process runs on.
    pub(in crate::cli) fn here(
        flags: &PlacementFlags,
        profile: ChipProfile,
        opened: &[BundleToPlace],
        places: &Places,
    ) -> Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        let processors = u32::try_from(processors)?;
        let machine = match (&profile.hardware, places.devices()) {
            (None, _) => {
                let memory = HostMemory::read(&places.root).most();
                let memory = memory.context("the memory of this machine is not known")?;
                Machine::host(host_cores(flags, processors), processors, memory)
            }
            (Some(_), 0) => {
                let rows = profile.instances.iter().map(|row| row.name.as_str());
                return Err(Failure::usage(format!(
                    "this machine has no device of chip `{}`",
                    profile.name
                ))
                .why("there is no `/dev/neuron0`")
                .help(format!("name an instance: {}", name_list(rows)))
                .into());
            }
            (Some(_), devices) => {
                let size = core_size(opened, &profile)?;
                let mut machine = Machine::with_devices(&profile, devices, size)?;
                machine.vcpus = Some(processors);
                machine
            }
        };
        Ok(Self { machine, profile })
    }

    /// Places the opened bundles on the cores of this machine.
    pub(in crate::cli) fn place(
        &self,
        flags: &PlacementFlags,
        opened: &[BundleToPlace],
        environment: &Environment,
    ) -> Result<Placement> {
        let profile = &self.profile;
        let models = opened.iter().map(|opened| {
            let plan = &opened.bundle.manifest.plan;
            let tensors = ModelTensors {
                weights: opened.bundle.weights()?,
                output: opened.bundle.manifest.output,
            };
            Model::new(&opened.name, plan, &tensors, profile, opened.cores.clone())
        });
        let wanted = self.wanted(flags.cores.clone(), environment);
        let usable = wanted.resolve(self.machine.cores)?;
        placement::place(
            self.machine.clone(),
            &usable,
            flags.models_per_core.map_or(1, NonZeroUsize::get),
            models.collect::<Result<_>>()?,
        )
    }

    /// The cores that the options or the runtime's variables ask for. The variables are about NeuronCores, so they
    /// are not read where processors are the cores.
    fn wanted(&self, cores: Option<Cores>, environment: &Environment) -> Wanted {
        let variable = |name: &str| match self.profile.hardware {
            Some(_) => environment.text(name),
            None => None,
        };
        if variable("NEURONCORE_GROUP_SIZES").is_some() {
            print::remark(
                "note: NEURONCORE_GROUP_SIZES is of an older runtime and is not read; \
                 set NEURON_RT_NUM_CORES or NEURON_RT_VISIBLE_CORES",
            );
        }
        Wanted {
            cores,
            visible: variable(VISIBLE_CORES),
            count: variable(NUM_CORES),
        }
    }
}

/// The profile with an instance type of that name.
fn profile_with(instance: &str) -> Result<ChipProfile> {
    let mut names = Vec::new();
    for name in profile::names() {
        let profile = profile::load(name)?;
        if profile.instances.iter().any(|row| row.name == instance) {
            return Ok(profile);
        }
        names.extend(profile.instances.into_iter().map(|row| row.name));
    }
    let names = names.iter().map(String::as_str);
    Err(Failure::usage(format!("instance `{instance}` is unknown"))
        .help(known_names(instance, names))
        .into())
}

/// Number of cores of a machine without devices: its processors, or the number that is asked for.
fn host_cores(flags: &PlacementFlags, processors: u32) -> u32 {
    match flags.cores {
        Some(Cores::Count(count)) => count,
        Some(Cores::List(_)) | None => processors,
    }
}
