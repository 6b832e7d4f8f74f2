//! Examines what this machine has and lacks for each chip.
//!
//! There is one file for each thing that is examined, each a function from paths to plain data ([`facts`])
//! that judges nothing. [`findings`] judges the facts, and [`readiness`] says
//! from the findings what the machine can do for which chip; both are pure. Nothing that is examined fails
//! the whole: what could not be found out is part of the answer.

pub mod devices;
pub mod driver;
pub mod facts;
pub mod finding;
pub mod findings;
pub mod folders;
pub mod host;
pub mod hub;
pub mod instance;
mod kernel_file;
pub mod libtorch;
pub mod neuron_ls;
pub mod readiness;
pub mod runtime;
mod scratch;
pub mod sdk;
pub mod skew;
mod thread_result;

use std::thread;

use serde::Serialize;

use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::Finding;
use crate::doctor::folders::NamedFolder;
use crate::doctor::readiness::Readiness;
use crate::doctor::thread_result::joined;
use crate::executor::probe::Places;
use crate::hub::HubAccess;
use crate::profile::ChipProfile;

/// The version of what `--format json` prints; raised when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// Where to look, and for which chips.
#[derive(Debug, Clone, Copy)]
pub struct ExaminationOptions<'a> {
    pub places: &'a Places,
    /// The chips to judge the machine for.
    pub chips: &'a [ChipProfile],
    /// All chips that neuronc knows, to tell whose devices and instance these are.
    pub known: &'a [ChipProfile],
    pub hub: &'a HubAccess,
    pub folders: &'a [NamedFolder],
}

/// The answer of `neuronc doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct MachineDiagnosis {
    pub schema_version: u32,
    /// One sentence: which chips the machine can trace and serve for, and what it lacks for others.
    pub answer: String,
    pub chips: Vec<Readiness>,
    pub findings: Vec<Finding>,
    pub machine: MachineFacts,
}

/// Examines the machine and judges it for the chips of `options`.
pub fn diagnose(options: &ExaminationOptions) -> MachineDiagnosis {
    let machine = examine(options);
    let findings = findings::find(&machine, options.chips);
    let chips = readiness::of(options.chips, &findings);
    MachineDiagnosis {
        schema_version: SCHEMA_VERSION,
        answer: readiness::sentence(&chips),
        chips,
        findings,
        machine,
    }
}

/// Collects the facts; the Hub, the SDK environments and `neuron-ls`, which make us wait, are asked at
/// the same time.
fn examine(options: &ExaminationOptions) -> MachineFacts {
    let ExaminationOptions { places, chips, .. } = *options;
    let root = places.root.as_path();
    thread::scope(|scope| {
        let hub = scope.spawn(|| hub::examine(options.hub));
        let sdk = scope.spawn(|| sdk::examine(places, chips));
        let neuron_ls = scope.spawn(|| neuron_ls::examine(places));
        let libtorch = libtorch::examine(places);
        let devices = devices::examine(root);
        let neuron_ls = joined(neuron_ls);
        MachineFacts {
            instance: instance::examine(root, options.known, &devices, &neuron_ls),
            host: host::examine(root),
            folders: folders::examine(options.folders),
            libtorch,
            driver: driver::examine(root),
            runtime: runtime::examine(root, chips),
            devices,
            neuron_ls,
            sdk: joined(sdk),
            hub: joined(hub),
        }
    })
}
