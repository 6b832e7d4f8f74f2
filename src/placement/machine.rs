//! What there is to place models on: cores, devices, memory and processors of one machine.

use anyhow::Result;
use serde::Serialize;

use crate::failure::{Class, Failure, known_names};
use crate::profile::{ChipHardware, ChipProfile, InstanceType};

const GIB: u64 = 1 << 30;

/// One machine. Cores are those that the Neuron runtime numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub name: String,
    pub cores: u32,
    /// Absent on a machine whose cores are processors.
    pub cores_per_device: Option<u32>,
    pub memory: MachineMemory,
    pub vcpus: Option<u32>,
    /// Physical cores that make one core, where the chip groups them.
    pub virtual_core_size: Option<u32>,
}

/// What holds the models, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineMemory {
    /// Each core has its part of a device's memory.
    PerCore(u64),
    /// All cores share the memory of the host.
    Shared(u64),
}

impl Machine {
    /// The instance `name` of the chip of `profile`; `core_size` is how many physical cores its
    /// models are compiled for, where the chip groups cores.
    pub fn instance(profile: &ChipProfile, name: &str, core_size: Option<u32>) -> Result<Self> {
        let Some(row) = profile.instances.iter().find(|row| row.name == name) else {
            let names = profile.instances.iter().map(|row| row.name.as_str());
            return Err(Failure::usage(format!(
                "`{name}` is not an instance with chip `{}`",
                profile.name
            ))
            .help(known_names(name, names))
            .into());
        };
        Self::of_row(profile, row, core_size)
    }

    fn of_row(profile: &ChipProfile, row: &InstanceType, core_size: Option<u32>) -> Result<Self> {
        let mut machine = Self::with_devices(profile, row.devices, core_size)?;
        machine.name.clone_from(&row.name);
        machine.vcpus = row.vcpus;
        Ok(machine)
    }

    /// A machine with so many devices of the chip of `profile`.
    pub fn with_devices(
        profile: &ChipProfile,
        devices: u32,
        core_size: Option<u32>,
    ) -> Result<Self> {
        let Some(hardware) = &profile.hardware else {
            return Err(Failure::new(
                Class::Bug,
                format!("profile `{}` describes no device", profile.name),
            )
            .into());
        };
        let (cores_per_device, size) = cores_per_device(hardware, core_size)?;
        let device_bytes = hardware.memory_gib_per_device * GIB as f64;
        Ok(Self {
            name: format!("{devices} devices of {}", profile.name),
            cores: devices * cores_per_device,
            cores_per_device: Some(cores_per_device),
            memory: MachineMemory::PerCore((device_bytes / f64::from(cores_per_device)) as u64),
            vcpus: None,
            virtual_core_size: size,
        })
    }

    /// The machine that we run on, with workers on its processors.
    pub fn host(workers: u32, processors: u32, memory_bytes: u64) -> Self {
        Self {
            name: "this machine".to_owned(),
            cores: workers,
            cores_per_device: None,
            memory: MachineMemory::Shared(memory_bytes),
            vcpus: Some(processors),
            virtual_core_size: None,
        }
    }

    /// The device that holds `core`.
    pub fn device(&self, core: u32) -> Option<u32> {
        Some(core / self.cores_per_device?)
    }
}

/// The cores of a device as the runtime numbers them, and the core size where the chip has one.
fn cores_per_device(hardware: &ChipHardware, core_size: Option<u32>) -> Result<(u32, Option<u32>)> {
    let grouped = &hardware.logical_cores_per_device;
    match core_size {
        Some(size) if !grouped.is_empty() => match grouped.get(&size) {
            Some(cores) => Ok((*cores, Some(size))),
            None => Err(Failure::usage(format!(
                "`{}` has no cores of {size} physical ones",
                hardware.device
            ))
            .into()),
        },
        _ => Ok((hardware.cores_per_device, None)),
    }
}
