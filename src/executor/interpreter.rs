//! Python interpreters: where one may be, what it says of itself, and whether it fits a chip's SDK.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::cleanup::{self, Registration};
use crate::command::{ChildLog, Program};
use crate::executor::events::{Event, Probed};
use crate::executor::job::PROTOCOL;
use crate::failure::{Class, Failure, name_list};
use crate::files;
use crate::profile::Sdk;

include!(concat!(env!("OUT_DIR"), "/scripts.rs"));

/// How long an interpreter may take to import an SDK and to describe itself.
const PROBE_DEADLINE: Duration = Duration::from_secs(180);

/// The oldest Python that the executor's script runs on.
const PYTHON_MIN: (u32, u32) = (3, 8);

/// Versions that a build of torch reports, and the release that it is: Debian's package of 1.13.1
/// calls itself 1.13.0a0.
const TORCH_ALIASES: [(&str, &str); 1] = [("1.13.0a0", "1.13.1")];

/// How the names of the SDK's packages for the operating system begin.
const SYSTEM_PACKAGES: &str = "aws-";

/// Where the SDK's tools and libraries are installed.
const NEURON_TOOLS: &str = "/opt/aws/neuron/bin";
const NEURON_LIBRARIES: &str = "/opt/aws/neuron/lib";

/// The Python executor on disk, for as long as the value lives.
#[derive(Debug)]
pub struct Script {
    folder: TempDir,
    _registration: Registration,
}

/// Two scripts are one when they lie in one folder.
impl PartialEq for Script {
    fn eq(&self, other: &Self) -> bool {
        self.folder() == other.folder()
    }
}

impl Eq for Script {}

impl Script {
    /// Writes the embedded files to a folder of their own below `parent`.
    pub fn write(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("neuronc-script-")
            .tempdir_in(parent)
            .with_context(|| format!("creating a folder in `{}`", parent.display()))?;
        for (name, text) in SCRIPTS {
            files::write(&folder.path().join(name), text.as_bytes())?;
        }
        Ok(Self {
            _registration: cleanup::folder(folder.path()),
            folder,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Writes the embedded files of the Python executor into `folder`, to stay there.
pub fn write_script(folder: &Path) -> Result<()> {
    files::create_folder(folder)?;
    SCRIPTS
        .iter()
        .try_for_each(|(name, text)| files::write(&folder.join(name), text.as_bytes()))
}

/// A place where an interpreter may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    /// Why it is looked at, such as `--sdk`.
    pub origin: &'static str,
}

/// An interpreter that answered.
#[derive(Debug, Clone)]
pub struct Interpreter {
    pub path: PathBuf,
    pub probed: Probed,
}

/// What an interpreter must have.
#[derive(Debug, Clone, Copy)]
pub enum Need<'a> {
    /// The SDK of a chip, to run what was compiled.
    Sdk(&'a Sdk),
    /// The SDK with its compiler.
    Compiler(&'a Sdk),
    /// torch, for the host.
    Torch,
    /// torch and transformers, for the host.
    Transformers,
    /// torch and torch-xla, which lower as the SDK does.
    Xla,
}

impl Need<'_> {
    /// The modules that must be importable.
    pub fn modules(&self) -> Vec<&str> {
        match self {
            Need::Sdk(sdk) | Need::Compiler(sdk) => vec!["torch", &sdk.module],
            Need::Torch => vec!["torch"],
            Need::Transformers => vec!["torch", "transformers"],
            Need::Xla => vec!["torch", "torch_xla"],
        }
    }
}

/// The interpreter that `given` means: an interpreter itself, or an environment that holds one.
pub fn given(given: &Path) -> Candidate {
    let path = match given.is_dir() {
        true => given.join("bin/python3"),
        false => given.to_owned(),
    };
    Candidate {
        // Executors run in folders of their own. Fails only for no path at all.
        path: std::path::absolute(&path).unwrap_or(path),
        origin: "`--sdk`",
    }
}

/// Where the interpreter of `sdk` may be on a machine whose files lie below `root`, in order.
pub fn of_sdk(sdk: &Sdk, root: &Path) -> Vec<Candidate> {
    let environments = sdk.environments.iter().map(|environment| Candidate {
        path: root
            .join(environment.trim_start_matches('/'))
            .join("bin/python3"),
        origin: "the chip's profile",
    });
    environments.collect()
}

/// The `python3` that a shell would run.
pub fn on_path(path: Option<&OsString>) -> Option<Candidate> {
    let folders = path?.as_bytes().split(|byte| *byte == b':');
    let found = folders
        .map(|folder| Path::new(OsStr::from_bytes(folder)).join("python3"))
        .find(|file| file.is_file())?;
    Some(Candidate {
        path: found,
        origin: "`PATH`",
    })
}

/// The first of `candidates` that has what is needed. Fails with what is wrong with each.
pub fn find(candidates: &[Candidate], need: Need, temporary: &Path) -> Result<Interpreter> {
    let script = Script::write(temporary)?;
    let mut refused = Vec::new();
    for candidate in candidates {
        let shown = candidate.path.display();
        if !candidate.path.exists() {
            refused.push(format!(
                "`{shown}`, from {}: it is not there",
                candidate.origin
            ));
            continue;
        }
        let answer = probe(&candidate.path, &need.modules(), &script);
        let problem = match answer {
            Ok(probed) => match problem(&probed, need) {
                None => {
                    let path = candidate.path.clone();
                    return Ok(Interpreter { path, probed });
                }
                Some(problem) => problem,
            },
            Err(error) => format!("{error:#}"),
        };
        refused.push(format!("`{shown}`, from {}: {problem}", candidate.origin));
    }
    Err(not_found(need, &refused).into())
}

/// Asks the interpreter at `path` what it is and whether it can import `modules`.
pub fn probe(path: &Path, modules: &[&str], script: &Script) -> Result<Probed> {
    let program = program(path, script.folder(), script.folder(), "probe");
    let log = script.folder().join("probe.log");
    let job = json!({"protocol": PROTOCOL, "modules": modules});
    let mut answer = None;
    let mut failed = None;
    program.run(
        serde_json::to_vec(&job)?,
        &ChildLog::file(&log),
        PROBE_DEADLINE,
        &mut |line| {
            match serde_json::from_str(line) {
                Ok(Event::Probed(probed)) => answer = Some(*probed),
                Ok(Event::Failed { message, .. }) => failed = Some(message),
                // What an interpreter prints before our script runs, and our own other events.
                _ => {}
            }
            Ok(())
        },
    )?;
    match (answer, failed) {
        (Some(probed), None) => Ok(probed),
        (_, Some(message)) => anyhow::bail!("{message}"),
        (None, None) => anyhow::bail!("it is no Python interpreter: it did not answer"),
    }
}

/// The program that does `job` with the script in `script`. Temporary files and caches go below `work`.
pub fn program(path: &Path, script: &Path, work: &Path, job: &str) -> Program {
    let mut program = executor(path, script, work);
    program.args.push(job.into());
    program
}

/// The Python executor without a job: isolated from the user's packages, with an environment that is
/// built.
pub fn executor(path: &Path, script: &Path, work: &Path) -> Program {
    let beside = path.parent().unwrap_or(Path::new("/"));
    let search = format!(
        "{}:{NEURON_TOOLS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        beside.display()
    );
    let environment = [
        ("PATH", OsString::from(search)),
        ("HOME", work.into()),
        ("TMPDIR", work.into()),
        ("HF_HOME", work.join("huggingface").into()),
        ("LANG", "C.UTF-8".into()),
        ("LD_LIBRARY_PATH", NEURON_LIBRARIES.into()),
        // Models come from a folder, and nothing else is asked for.
        ("HF_HUB_OFFLINE", "1".into()),
        ("TRANSFORMERS_OFFLINE", "1".into()),
        ("TOKENIZERS_PARALLELISM", "false".into()),
    ];
    Program {
        path: path.to_owned(),
        args: ["-I".into(), "-B".into(), "-u".into(), script.into()].to_vec(),
        environment: environment
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// The release of torch that a version string means, without its build.
pub fn torch_release(version: &str) -> &str {
    let release = version.split('+').next().unwrap_or(version);
    let alias = TORCH_ALIASES.iter().find(|(alias, _)| *alias == release);
    alias.map_or(release, |(_, release)| release)
}

/// Why an interpreter does not have what is needed.
pub fn problem(probed: &Probed, need: Need) -> Option<String> {
    if let Some(old) = too_old(&probed.python) {
        return Some(old);
    }
    if let Need::Sdk(sdk) | Need::Compiler(sdk) = need
        && probed.missing.contains_key(&sdk.module)
        && let Some(other) = other_sdk(probed, sdk)
    {
        return Some(format!(
            "it has `{other}`, the SDK of other chips, and not `{}`",
            sdk.module
        ));
    }
    for module in need.modules() {
        if let Some(why) = probed.missing.get(module) {
            return Some(format!("it cannot import `{module}`: {why}"));
        }
    }
    let (Need::Sdk(sdk) | Need::Compiler(sdk)) = need else {
        return None;
    };
    let lacking: Vec<&str> = python_packages(sdk)
        .filter(|name| !probed.packages.contains_key(*name))
        .collect();
    if matches!(need, Need::Compiler(_)) && !lacking.is_empty() {
        return Some(format!("it has no package {}", name_list(lacking)));
    }
    let torch = probed.torch.as_deref().map(torch_release);
    match torch {
        Some(torch) if torch == sdk.torch => None,
        _ => Some(format!(
            "it has torch {}, and the SDK of this chip is built for {}",
            torch.unwrap_or("of an unknown version"),
            sdk.torch
        )),
    }
}

/// The packages of the SDK that are Python packages; the others are the system's.
fn python_packages(sdk: &Sdk) -> impl Iterator<Item = &str> {
    let names = sdk.packages.keys().map(String::as_str);
    names.filter(|name| !name.starts_with(SYSTEM_PACKAGES))
}

fn too_old(python: &str) -> Option<String> {
    let mut parts = python.split('.').map(str::parse::<u32>);
    let version = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => return Some(format!("its Python version `{python}` cannot be read")),
    };
    let (major, minor) = PYTHON_MIN;
    (version < PYTHON_MIN).then(|| format!("it is Python {python}; {major}.{minor} is needed"))
}

/// The distribution of another SDK in an environment.
fn other_sdk(probed: &Probed, sdk: &Sdk) -> Option<String> {
    let own = sdk.module.replace('_', "-");
    let sdks = ["torch-neuron", "torch-neuronx"];
    let other = sdks
        .into_iter()
        .find(|name| *name != own && probed.packages.contains_key(*name))?;
    Some(format!("{other} {}", probed.packages[other]))
}

fn not_found(need: Need, refused: &[String]) -> Failure {
    let why = match refused {
        [] => "there is no `python3` on `PATH`".to_owned(),
        refused => refused.join("\n"),
    };
    match need {
        Need::Sdk(sdk) | Need::Compiler(sdk) => Failure::new(
            Class::Executor,
            format!("no interpreter with the Neuron SDK (`{}`) was found", sdk.module),
        )
        .why(why)
        .help(format!(
            "give its environment with `--sdk PATH`, on a machine image or in a container of Neuron SDK {}; \
             or do all but the compilation with `neuronc rehearse`, or trace for `--chip cpu`",
            sdk.release
        )),
        Need::Torch | Need::Transformers | Need::Xla => {
            let modules = need.modules();
            Failure::new(
                Class::Executor,
                format!("no Python with {} was found", name_list(modules.iter().copied())),
            )
            .why(why)
            .help("give an environment that has them with `--sdk PATH`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn probed(torch: &str, packages: &[(&str, &str)], missing: &[(&str, &str)]) -> Probed {
        let owned = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect()
        };
        Probed {
            python: "3.10.12".to_owned(),
            executable: "/x/bin/python3".to_owned(),
            packages: owned(packages),
            torch: Some(torch.to_owned()),
            cxx11_abi: Some(true),
            missing: owned(missing),
            site_packages: Vec::new(),
        }
    }

    const NEURONX: [(&str, &str); 3] = [
        ("torch-neuronx", "2.9.0.2"),
        ("neuronx-cc", "2.26"),
        ("libneuronxla", "2.2"),
    ];

    #[test]
    fn an_environment_that_fits_is_taken() {
        let inf2 = profile::load("inf2").unwrap().sdk.unwrap();
        let found = probed("2.9.0+cu128", &NEURONX, &[]);
        assert_eq!(problem(&found, Need::Sdk(&inf2)), None);
        let inf1 = profile::load("inf1").unwrap().sdk.unwrap();
        let packages = [("torch-neuron", "1.13.1.2"), ("neuron-cc", "1.24")];
        let found = probed("1.13.0a0+gitunknown", &packages, &[]);
        assert_eq!(problem(&found, Need::Sdk(&inf1)), None);
    }

    #[test]
    fn an_environment_without_a_compiler_cannot_compile() {
        let inf2 = profile::load("inf2").unwrap().sdk.unwrap();
        let lacking = probed("2.9.0", &NEURONX[..1], &[]);
        assert_eq!(problem(&lacking, Need::Sdk(&inf2)), None, "it can serve");
        let problem = problem(&lacking, Need::Compiler(&inf2)).unwrap();
        assert_eq!(problem, "it has no package `libneuronxla` and `neuronx-cc`");
    }

    #[test]
    fn the_sdk_of_other_chips_is_called_that() {
        let inf2 = profile::load("inf2").unwrap().sdk.unwrap();
        let wrong = probed(
            "1.13.1",
            &[("torch-neuron", "1.13.1.2.11.13.0")],
            &[("torch_neuronx", "No module named 'torch_neuronx'")],
        );
        let problem = problem(&wrong, Need::Sdk(&inf2)).unwrap();
        assert!(problem.contains("SDK of other chips"), "{problem}");
    }

    #[test]
    fn another_torch_and_an_old_python_are_refused() {
        let inf2 = profile::load("inf2").unwrap().sdk.unwrap();
        let other = problem(&probed("2.8.0", &NEURONX, &[]), Need::Sdk(&inf2)).unwrap();
        assert!(
            other.contains("2.8.0") && other.contains("2.9.0"),
            "{other}"
        );
        let mut old = probed("2.9.0", &NEURONX, &[]);
        old.python = "3.6.9".to_owned();
        let old = problem(&old, Need::Sdk(&inf2)).unwrap();
        assert!(old.contains("Python 3.6.9"), "{old}");
    }
}
