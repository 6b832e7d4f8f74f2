//! Examines the Python environments that may hold an SDK: their packages, and the chips they serve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::Result;
use serde::Serialize;

use crate::doctor::runtime::{self, RuntimeLibrary};
use crate::doctor::thread_result::joined;
use crate::executor::events::Probed;
use crate::executor::interpreter::{self, Candidate, Need, Script};
use crate::executor::probe::Places;
use crate::profile::{ChipProfile, Sdk};

/// A Python interpreter that exists, and what it offers each chip.
#[derive(Debug, Clone, Serialize)]
pub struct SdkEnvironment {
    pub python: PathBuf,
    /// Who names it: the profile of a chip, `--sdk` or `PATH`.
    pub origin: &'static str,
    /// Its version and packages, as it reports them; absent where it failed.
    pub probed: Option<Probed>,
    /// The reason of the failure.
    pub problem: Option<String>,
    /// What it offers, by the name of each chip that may use it.
    pub chips: BTreeMap<String, SdkFit>,
}

/// What an environment offers a chip.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SdkFit {
    /// The reason why it is not the chip's SDK; absent where it is.
    pub problem: Option<String>,
    /// The SDK's library for libtorch; absent where the environment has none.
    pub plugin: Option<PathBuf>,
    /// The runtime library, where it comes with the environment.
    pub runtime: Option<RuntimeLibrary>,
}

impl SdkEnvironment {
    pub fn serves(&self, chip: &str) -> bool {
        self.chips
            .get(chip)
            .is_some_and(|fit| fit.problem.is_none())
    }
}

/// Examines all environments that exist, in the order in which a chip takes the first that serves it.
pub fn examine(places: &Places, chips: &[ChipProfile]) -> Vec<SdkEnvironment> {
    let chips: Vec<&ChipProfile> = chips.iter().filter(|chip| chip.sdk.is_some()).collect();
    if chips.is_empty() {
        return Vec::new();
    }
    // In parallel, since each imports torch, which takes seconds.
    thread::scope(|scope| {
        let probes: Vec<_> = candidates(places, &chips)
            .into_iter()
            .map(|(candidate, names)| {
                let chips = chips.iter().copied();
                let users: Vec<_> = chips.filter(|c| names.contains(&c.name)).collect();
                scope.spawn(move || environment(&candidate, &users, places))
            })
            .collect();
        probes.into_iter().map(joined).collect()
    })
}

/// The interpreters that exist, each once, with the names of the chips that may use them. Where the
/// user names one, no chip may use the others, as for tracing; they are shown nevertheless.
fn candidates(places: &Places, chips: &[&ChipProfile]) -> Vec<(Candidate, Vec<String>)> {
    let mut found: Vec<(Candidate, Vec<String>)> = Vec::new();
    let mut add = |candidate: Candidate, users: Vec<String>| {
        let known = found.iter_mut().find(|(c, _)| c.path == candidate.path);
        match known {
            Some((_, names)) => names.extend(users),
            None if candidate.path.exists() => found.push((candidate, users)),
            None => {}
        }
    };
    let all = || chips.iter().map(|chip| chip.name.clone()).collect();
    if let Some(given) = &places.sdk {
        add(interpreter::given(given), all());
    }
    let is_free = places.sdk.is_none();
    for chip in chips {
        let sdk = chip.sdk.iter();
        for candidate in sdk.flat_map(|sdk| interpreter::of_sdk(sdk, &places.root)) {
            let users = is_free.then(|| chip.name.clone());
            add(candidate, users.into_iter().collect());
        }
    }
    if let Some(candidate) = interpreter::on_path(places.path.as_ref()) {
        add(candidate, if is_free { all() } else { Vec::new() });
    }
    found
}

fn environment(candidate: &Candidate, users: &[&ChipProfile], places: &Places) -> SdkEnvironment {
    let mut modules = vec!["torch"];
    let sdks = users.iter().filter_map(|chip| chip.sdk.as_ref());
    modules.extend(sdks.map(|sdk| sdk.module.as_str()));
    modules.sort_unstable();
    modules.dedup();
    let (probed, problem) = match probe(&candidate.path, &modules, &places.temporary) {
        Ok(probed) => (Some(probed), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let fit = |chip: &&ChipProfile| {
        let sdk = chip.sdk.as_ref()?;
        let fit = match &probed {
            Some(probed) => fit(probed, sdk),
            None => SdkFit {
                problem: problem.clone(),
                ..SdkFit::default()
            },
        };
        Some((chip.name.clone(), fit))
    };
    SdkEnvironment {
        python: candidate.path.clone(),
        origin: candidate.origin,
        chips: users.iter().filter_map(fit).collect(),
        probed,
        problem,
    }
}

/// Imports `modules` with the interpreter. Each probe has a script file of its own, since it writes
/// its result beside it.
fn probe(python: &Path, modules: &[&str], temporary: &Path) -> Result<Probed> {
    let script = Script::write(temporary)?;
    interpreter::probe(python, modules, &script)
}

fn fit(probed: &Probed, sdk: &Sdk) -> SdkFit {
    let inside = |relative: &str| {
        let folders = probed.site_packages.iter();
        let mut paths = folders.map(|folder| Path::new(folder).join(relative));
        paths.find(|path| path.exists())
    };
    let relative = sdk.runtime_library.as_deref().map(Path::new);
    let relative = relative.filter(|path| path.is_relative());
    let runtime = relative.and_then(Path::to_str).and_then(inside);
    SdkFit {
        problem: interpreter::problem(probed, Need::Sdk(sdk)),
        plugin: inside(&sdk.plugin),
        // The interpreter ran on this machine, so its paths do not begin at `NEURONC_ROOT`.
        runtime: runtime.map(|path| runtime::library(&path, Path::new("/"))),
    }
}
