//! Everything that was found out about a machine, without any judgement.

use serde::Serialize;

use crate::doctor::devices::Devices;
use crate::doctor::driver::Driver;
use crate::doctor::folders::FolderFacts;
use crate::doctor::host::HostFacts;
use crate::doctor::hub::HubFacts;
use crate::doctor::instance::InstanceFacts;
use crate::doctor::libtorch::Libtorch;
use crate::doctor::neuron_ls::NeuronLs;
use crate::doctor::runtime::RuntimeLibrary;
use crate::doctor::sdk::SdkEnvironment;

/// The facts about a machine, as `--format json` prints them.
#[derive(Debug, Clone, Serialize)]
pub struct MachineFacts {
    pub instance: InstanceFacts,
    pub host: HostFacts,
    pub folders: Vec<FolderFacts>,
    pub libtorch: Libtorch,
    pub devices: Devices,
    pub neuron_ls: NeuronLs,
    pub driver: Driver,
    /// Runtime libraries of the machine; those inside a Python environment are part of its entry in
    /// `sdk`.
    pub runtime: Vec<RuntimeLibrary>,
    pub sdk: Vec<SdkEnvironment>,
    pub hub: HubFacts,
}
