//! What this machine has and lacks, per chip.
//!
//! One file for each thing looked at, each a function from places to plain data; nothing there judges.
//! [`findings`] turns that data into problems with their fixes, and is pure. [`readiness`] says from them
//! what the machine can do for which chip. Nothing that is looked at fails the whole: what could not be
//! found out is part of the answer.

pub mod devices;
pub mod driver;
pub mod findings;
pub mod folders;
pub mod host;
pub mod hub;
pub mod instance;
pub mod libtorch;
pub mod neuron_ls;
pub mod readiness;
pub mod runtime;
pub mod sdk;
pub mod skew;

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tempfile::TempDir;

use crate::cleanup::{self, Registration};
use crate::doctor::devices::Devices;
use crate::doctor::driver::Driver;
use crate::doctor::findings::Finding;
use crate::doctor::folders::{Folder, Place};
use crate::doctor::host::Host;
use crate::doctor::hub::Hub;
use crate::doctor::instance::Instance;
use crate::doctor::libtorch::Libtorch;
use crate::doctor::neuron_ls::NeuronLs;
use crate::doctor::readiness::Readiness;
use crate::doctor::runtime::Library;
use crate::doctor::sdk::Environment;
use crate::executor::probe::Places;
use crate::files;
use crate::hub::HubAccess;
use crate::profile::ChipProfile;

/// The version of what `--format json` prints; raised when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// Where to look, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub places: &'a Places,
    /// The chips that are asked about.
    pub chips: &'a [ChipProfile],
    /// All chips there are, by which devices and instances are known.
    pub known: &'a [ChipProfile],
    pub hub: &'a HubAccess,
    pub folders: &'a [Place],
}

/// Everything that was found out, without any judgement.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    pub instance: Instance,
    pub host: Host,
    pub folders: Vec<Folder>,
    pub libtorch: Libtorch,
    pub devices: Devices,
    pub neuron_ls: NeuronLs,
    pub driver: Driver,
    /// The runtime libraries of the machine; those that come with an environment are with it.
    pub runtime: Vec<Library>,
    pub sdk: Vec<Environment>,
    pub hub: Hub,
}

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    pub schema_version: u32,
    /// What the machine can do for which chip, in a sentence.
    pub answer: String,
    pub chips: Vec<Readiness>,
    pub findings: Vec<Finding>,
    pub machine: Machine,
}

/// Looks at the machine and says what it can do.
pub fn diagnose(asked: &Asked) -> Diagnosis {
    let machine = examine(asked);
    let findings = findings::find(&machine, asked.chips);
    let chips = readiness::of(asked.chips, &findings);
    Diagnosis {
        schema_version: SCHEMA_VERSION,
        answer: readiness::sentence(&chips),
        chips,
        findings,
        machine,
    }
}

/// Looks at everything; what waits for others runs at the same time.
fn examine(asked: &Asked) -> Machine {
    let Asked { places, chips, .. } = *asked;
    let root = places.root.as_path();
    thread::scope(|scope| {
        let hub = scope.spawn(|| hub::look(asked.hub));
        let sdk = scope.spawn(|| sdk::look(places, chips));
        let neuron_ls = scope.spawn(|| neuron_ls::look(places));
        let libtorch = libtorch::look(places);
        let devices = devices::look(root);
        let neuron_ls = joined(neuron_ls);
        Machine {
            instance: instance::look(root, asked.known, &devices, &neuron_ls),
            host: host::look(root),
            folders: folders::look(asked.folders),
            libtorch,
            driver: driver::look(root),
            runtime: runtime::look(root, chips),
            devices,
            neuron_ls,
            sdk: joined(sdk),
            hub: joined(hub),
        }
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// A folder for the log of a program; it goes with the value, and on a signal.
struct Scratch {
    folder: TempDir,
    _registration: Registration,
}

impl Scratch {
    fn new(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("neuronc-doctor-")
            .tempdir_in(parent)
            .with_context(|| format!("creating a folder in `{}`", parent.display()))?;
        Ok(Self {
            _registration: cleanup::folder(folder.path()),
            folder,
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// The text of a small file of the kernel, without the white space around it; `None` where there is no
/// such file or nothing in it.
fn fact(path: &Path) -> Option<String> {
    let text = files::read_text(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
