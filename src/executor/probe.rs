//! Which executors and devices this machine has.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::Program;
use crate::executor::interpreter::{self, Candidate, Interpreter, Need};
use crate::failure::{Class, Failure};
use crate::files;
use crate::profile::{ChipProfile, Sdk};

/// The executable that links libtorch.
const TORCH_EXECUTOR: &str = "neuronc-torch";

/// Where to look for executors and devices; read from the process once, in `cli/`.
#[derive(Debug, Clone)]
pub struct Places {
    /// The running executable; its companions lie beside it.
    pub executable: PathBuf,
    /// The user's `PATH`.
    pub path: Option<OsString>,
    /// An interpreter, or the environment of one, that the user names.
    pub sdk: Option<PathBuf>,
    /// Where the machine's files are; another place than `/` in a container that has them mounted.
    pub root: PathBuf,
    /// For files that do not outlive the process.
    pub temporary: PathBuf,
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

    /// The interpreter of the SDK that compiles for `profile`: what the user names, else the known
    /// environments, else `python3` on `PATH`.
    pub fn compiler(&self, profile: &ChipProfile) -> Result<Interpreter> {
        let sdk = sdk_of(profile)?;
        self.find_sdk(sdk, Need::Compiler(sdk))
    }

    /// An interpreter of the SDK that runs what was compiled for `profile`; it may lack the compiler.
    pub fn sdk(&self, profile: &ChipProfile) -> Result<Interpreter> {
        let sdk = sdk_of(profile)?;
        self.find_sdk(sdk, Need::Sdk(sdk))
    }

    fn find_sdk(&self, sdk: &Sdk, need: Need) -> Result<Interpreter> {
        let known = interpreter::of_sdk(sdk, &self.root);
        interpreter::find(&self.candidates(known), need, &self.temporary)
    }

    /// An interpreter with torch and transformers.
    pub fn transformers(&self) -> Result<Interpreter> {
        interpreter::find(
            &self.candidates(Vec::new()),
            Need::Transformers,
            &self.temporary,
        )
    }

    /// An interpreter with torch.
    pub fn python_torch(&self) -> Result<Interpreter> {
        interpreter::find(&self.candidates(Vec::new()), Need::Torch, &self.temporary)
    }

    /// An interpreter with torch and torch-xla.
    pub fn xla(&self) -> Result<Interpreter> {
        interpreter::find(&self.candidates(Vec::new()), Need::Xla, &self.temporary)
    }

    /// What the user names is the only candidate.
    fn candidates(&self, known: Vec<Candidate>) -> Vec<Candidate> {
        match &self.sdk {
            Some(given) => vec![interpreter::given(given)],
            None => known
                .into_iter()
                .chain(interpreter::on_path(self.path.as_ref()))
                .collect(),
        }
    }

    /// How many Neuron devices are here: their numbers begin at 0.
    pub fn devices(&self) -> u32 {
        // A folder that cannot be listed has no devices for us.
        let names = files::list(&self.root.join("dev")).unwrap_or_default();
        let highest = names.iter().filter_map(|name| device_number(name)).max();
        highest.map_or(0, |number| number + 1)
    }

    pub fn has_device(&self) -> bool {
        self.devices() > 0
    }
}

/// The SDK of a profile that must have one.
pub fn sdk_of(profile: &ChipProfile) -> Result<&Sdk> {
    let none = || {
        let what = format!("profile `{}` has no SDK and needs one", profile.name);
        Failure::new(Class::Bug, what).into()
    };
    profile.sdk.as_ref().ok_or_else(none)
}

/// The number in `neuron0`, `neuron1`, and so on, as the driver names its devices.
pub fn device_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("neuron")?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}
