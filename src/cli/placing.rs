//! What `place` and `serve` have in common: which bundles, on which machine, on which cores.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::bundle::{Bundle, Check};
use crate::cli::environment::Environment;
use crate::cli::output;
use crate::executor::probe::Places;
use crate::failure::{Failure, known_names, name_list, printable};
use crate::host_memory::HostMemory;
use crate::placement::cores::{CoreList, Cores, NUM_CORES, VISIBLE_CORES, Wanted};
use crate::placement::machine::Machine;
use crate::placement::model::{self, Model};
use crate::placement::{self, Placement};
use crate::profile::{self, ChipProfile};
use crate::serve::check_model_name;

/// The arguments that say what runs where.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Wish {
    /// Bundles that `neuronc trace` made; each takes the cores that are left, in turn.
    #[arg(value_name = "BUNDLE")]
    pub(super) bundles: Vec<PathBuf>,

    /// A bundle under a name of its own, and on cores of its own such as `0-3` or `0,2,5-7`.
    #[arg(long, value_name = "NAME=BUNDLE[@CORES]", value_parser = NamedBundle::parse)]
    pub(super) model: Vec<NamedBundle>,

    /// How many cores, or which: `4`, `0-3`, `0,2,5-7`; one core is `5-5` [default: all].
    #[arg(long, value_name = "N|LIST", value_parser = parse_cores)]
    pub(super) cores: Option<Cores>,

    /// Models that a core may hold [default: 1].
    #[arg(long, value_name = "K")]
    pub(super) models_per_core: Option<NonZeroUsize>,
}

/// A bundle with the name under which it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedBundle {
    pub(super) name: String,
    pub(super) bundle: PathBuf,
    pub(super) cores: Option<CoreList>,
}

impl NamedBundle {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((name, rest)) = text.split_once('=') else {
            return Err("write it as NAME=BUNDLE or NAME=BUNDLE@CORES".to_owned());
        };
        // A path may have an @ of its own.
        let is_list = |text: &&str| {
            let mut characters = text.chars();
            characters.all(|c| c.is_ascii_digit() || ",- ".contains(c)) && !text.is_empty()
        };
        let parts = rest.rsplit_once('@').filter(|(_, list)| is_list(list));
        let (bundle, cores) = match parts {
            None => (rest, None),
            Some((bundle, list)) => {
                let cores =
                    CoreList::parse(list, "after the @,").map_err(|error| error.to_string())?;
                (bundle, Some(cores))
            }
        };
        if name.is_empty() || bundle.is_empty() {
            return Err("neither the name nor the bundle may be empty".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            bundle: PathBuf::from(bundle),
            cores,
        })
    }
}

fn parse_cores(text: &str) -> Result<Cores, String> {
    Cores::parse(text, "--cores").map_err(|error| error.to_string())
}

/// A bundle that is to be placed.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) bundle: Bundle,
    pub(super) cores: Option<CoreList>,
}

impl Opened {
    fn check_name(&self) -> Result<()> {
        check_model_name(&self.name).map_err(|why| {
            let what = format!("a model cannot be called `{}`", printable(&self.name));
            let failure = Failure::usage(what).why(why);
            failure.help("name it with `--model NAME=BUNDLE`").into()
        })
    }
}

impl Wish {
    /// Opens every bundle; the order is that of the command line, `--model` last.
    pub(super) fn open(&self, check: Check) -> Result<Vec<Opened>> {
        if self.bundles.is_empty() && self.model.is_empty() {
            return Err(Failure::usage("no bundle is given")
                .help("make one with `neuronc trace MODEL -o BUNDLE`, and name it here")
                .into());
        }
        let plain = self.bundles.iter().map(|folder| {
            let bundle = Bundle::open(folder, check)?;
            Ok(Opened {
                name: bundle.manifest.plan.name.clone(),
                bundle,
                cores: None,
            })
        });
        let named = self.model.iter().map(|named| {
            Ok(Opened {
                name: named.name.clone(),
                bundle: Bundle::open(&named.bundle, check)?,
                cores: named.cores.clone(),
            })
        });
        let opened: Vec<Opened> = plain.chain(named).collect::<Result<_>>()?;
        opened.iter().try_for_each(Opened::check_name)?;
        Ok(opened)
    }

    /// Where the opened bundles run on `site`.
    pub(super) fn place(
        &self,
        opened: &[Opened],
        site: &Site,
        environment: &Environment,
    ) -> Result<Placement> {
        let profile = &site.profile;
        let models = opened.iter().map(|opened| {
            let plan = &opened.bundle.manifest.plan;
            let weights = opened.bundle.weights()?;
            Model::new(&opened.name, plan, &weights, profile, opened.cores.clone())
        });
        let wanted = site.wanted(self.cores.clone(), environment);
        let usable = wanted.resolve(site.machine.cores)?;
        placement::place(
            site.machine.clone(),
            &usable,
            self.models_per_core.map_or(1, NonZeroUsize::get),
            models.collect::<Result<_>>()?,
        )
    }

    /// The cores of a machine without devices: its processors, or as many as are asked for.
    fn host_cores(&self, processors: u32) -> u32 {
        match self.cores {
            Some(Cores::Count(count)) => count,
            Some(Cores::List(_)) | None => processors,
        }
    }
}

/// A machine and the profile of what its cores are.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) machine: Machine,
    pub(super) profile: ChipProfile,
}

impl Site {
    /// The instance of that name, of the chip in the user's `file` or of any that neuronc knows.
    pub(super) fn instance(name: &str, file: Option<&Path>, opened: &[Opened]) -> Result<Self> {
        let profile = match file {
            Some(file) => profile::load_file(file)?,
            None => profile_with(name)?,
        };
        let machine = Machine::instance(&profile, name, core_size(opened, &profile)?)?;
        Ok(Self { machine, profile })
    }

    /// The machine that we run on.
    pub(super) fn here(
        wish: &Wish,
        profile: ChipProfile,
        opened: &[Opened],
        places: &Places,
    ) -> Result<Self> {
        let processors = std::thread::available_parallelism()?.get();
        let processors = u32::try_from(processors)?;
        let machine = match (&profile.hardware, places.devices()) {
            (None, _) => {
                let memory = HostMemory::read(&places.root).most();
                let memory = memory.context("the memory of this machine is not known")?;
                Machine::host(wish.host_cores(processors), processors, memory)
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

    /// The variables speak of NeuronCores: on processors they mean nothing.
    fn wanted(&self, cores: Option<Cores>, environment: &Environment) -> Wanted {
        let variable = |name: &str| match self.profile.hardware {
            Some(_) => environment.text(name),
            None => None,
        };
        if variable("NEURONCORE_GROUP_SIZES").is_some() {
            output::remark(
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

/// The profile that has an instance of that name.
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

/// The one chip that all bundles are for.
pub(super) fn chip(opened: &[Opened]) -> Result<&str> {
    let mut chips: Vec<&str> = opened
        .iter()
        .map(|opened| opened.bundle.manifest.plan.chip.as_str())
        .collect();
    chips.sort_unstable();
    chips.dedup();
    match chips.as_slice() {
        [chip] => Ok(chip),
        _ => Err(Failure::usage("the bundles are for different chips")
            .why(format!("they are for {}", name_list(chips)))
            .help("one server has one kind of chip: trace the others for it")
            .into()),
    }
}

/// The core size that all bundles are compiled for: a process has one, and cores are counted in it.
fn core_size(opened: &[Opened], profile: &ChipProfile) -> Result<Option<u32>> {
    let mut sizes = Vec::new();
    for opened in opened {
        sizes.push(model::core_size(&opened.bundle.manifest.plan, profile)?);
    }
    sizes.dedup();
    match sizes.as_slice() {
        [size] => Ok(*size),
        _ => Err(
            Failure::usage("the bundles are compiled for different core sizes")
                .why("cores are counted in one size on a machine")
                .help("trace them with the same `lnc`")
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_bundle_may_have_cores_and_an_at_sign_in_its_path() {
        let parsed = |text: &str| {
            let named = NamedBundle::parse(text).unwrap();
            let cores = named.cores.map(|list| list.to_string());
            (named.name, named.bundle.display().to_string(), cores)
        };
        let named = |name: &str, bundle: &str, cores: Option<&str>| {
            (name.to_owned(), bundle.to_owned(), cores.map(str::to_owned))
        };
        assert_eq!(parsed("a=b"), named("a", "b", None));
        assert_eq!(parsed("a=b@0,2-3"), named("a", "b", Some("0,2-3")));
        assert_eq!(parsed("a=b@home/c"), named("a", "b@home/c", None));
        assert_eq!(parsed("a=b@home/c@7"), named("a", "b@home/c", Some("7")));
        for wrong in ["a", "=b", "a=", "a=@1", "a=b@3-1"] {
            assert!(NamedBundle::parse(wrong).is_err(), "{wrong}");
        }
    }
}
