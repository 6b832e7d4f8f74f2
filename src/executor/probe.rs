//! Which executors this machine has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Program;
use crate::failure::{Class, Failure, name_list};
use crate::profile::{ChipProfile, CompilerKind};

/// The executable that links libtorch.
const TORCH_EXECUTOR: &str = "neuronc-torch";

/// Where to look for executors; read from the process once, in `cli/`.
#[derive(Debug, Clone)]
pub struct Places {
    /// The running executable; its companions lie beside it.
    pub executable: PathBuf,
    /// The user's `PATH`.
    pub path: Option<OsString>,
}

/// What `neuronc-torch` is started with. Threads that wait for work sleep instead of spinning: several
/// workers share the processors.
fn torch_environment() -> BTreeMap<OsString, OsString> {
    BTreeMap::from([("OMP_WAIT_POLICY".into(), "PASSIVE".into())])
}

impl Places {
    /// The executor that runs libtorch on the host, without arguments.
    pub fn torch(&self) -> Result<Program> {
        let folder = self.executable.parent().unwrap_or(Path::new("."));
        // Test executables lie one folder below the programs.
        let tried = [
            folder.join(TORCH_EXECUTOR),
            folder.join("..").join(TORCH_EXECUTOR),
        ];
        match tried.iter().find(|path| path.is_file()) {
            Some(path) => Ok(Program {
                path: path.clone(),
                args: Vec::new(),
                environment: torch_environment(),
            }),
            None => Err(Failure::new(
                Class::Executor,
                format!("the executor `{TORCH_EXECUTOR}` is missing"),
            )
            .why(format!("it was looked for at `{}`", tried[0].display()))
            .help("install both programs into one folder; in the repository run `make build`")
            .into()),
        }
    }

    /// The interpreter of the SDK that compiles for `profile`.
    pub fn sdk(&self, profile: &ChipProfile) -> Result<Program> {
        let Some(sdk) = &profile.sdk else {
            return Err(Failure::new(
                Class::Bug,
                format!("profile `{}` has no SDK and needs one", profile.name),
            )
            .into());
        };
        let interpreters: Vec<String> = sdk
            .environments
            .iter()
            .map(|environment| format!("{environment}/bin/python3"))
            .collect();
        Err(Failure::new(
            Class::Executor,
            format!("the Neuron SDK for chip `{}` was not found", profile.name),
        )
        .why(format!(
            "no interpreter with the module `{}` at {}",
            sdk.module,
            name_list(interpreters.iter().map(String::as_str))
        ))
        .help(format!(
            "run this on a machine image or in a container with Neuron SDK {}, or trace for `--chip cpu`",
            sdk.release
        ))
        .into())
    }

    /// The executor that runs what a compiler of that kind made for `chip`.
    pub fn runtime(&self, made_by: CompilerKind, chip: &str) -> Result<Program> {
        match made_by {
            CompilerKind::Libtorch => self.torch(),
            CompilerKind::TorchNeuron | CompilerKind::TorchNeuronx => Err(Failure::new(
                Class::Executor,
                format!("the bundle runs on chip `{chip}`, which is not here"),
            )
            .why("this machine has no Neuron device")
            .help("run it on an instance with that chip, or trace the model for `--chip cpu`")
            .into()),
        }
    }

    /// The executor that makes the artifacts of `profile`.
    pub fn compiler(&self, profile: &ChipProfile) -> Result<Program> {
        match profile.compiler.kind {
            CompilerKind::Libtorch => self.torch(),
            CompilerKind::TorchNeuron | CompilerKind::TorchNeuronx => self.sdk(profile),
        }
    }
}
