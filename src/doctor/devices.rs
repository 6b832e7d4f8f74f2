//! Examines the Neuron devices that the driver shows.

use std::path::Path;

use serde::Serialize;

use crate::doctor::kernel_file::fact;
use crate::executor::probe::device_number;
use crate::files;

/// Folder in which the driver describes its devices.
const SYSFS: &str = "sys/devices/virtual/neuron_device";

/// The device nodes of the machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Devices {
    /// The nodes `/dev/neuronN`, in order.
    pub nodes: Vec<DeviceNode>,
}

/// A node `/dev/neuronN`, with what the driver says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceNode {
    pub number: u32,
    /// Family of instances with such devices, in the driver's spelling: `Inf2`.
    pub instance: Option<String>,
    /// Name of the device in the driver's spelling: `Inferentia2`.
    pub name: Option<String>,
    pub cores: Option<u32>,
}

pub fn examine(root: &Path) -> Devices {
    // Where `/dev` cannot be listed, its devices could not be opened either.
    let names = files::list(&root.join("dev")).unwrap_or_default();
    let numbers = names
        .iter()
        .filter(|name| device_number(name).is_some())
        .filter_map(|name| name.trim_start_matches("neuron").parse().ok());
    let mut nodes: Vec<DeviceNode> = numbers.map(|number| device(root, number)).collect();
    nodes.sort_by_key(|device| device.number);
    Devices { nodes }
}

fn device(root: &Path, number: u32) -> DeviceNode {
    let folder = root.join(SYSFS).join(format!("neuron{number}"));
    let architecture = folder.join("info/architecture");
    DeviceNode {
        number,
        instance: fact(&architecture.join("instance_type")),
        name: fact(&architecture.join("device_name")),
        cores: fact(&folder.join("core_count")).and_then(|text| text.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_in_the_order_of_their_numbers_and_described_by_the_driver() {
        let root = tempfile::tempdir().unwrap();
        let dev = root.path().join("dev");
        files::create_folder(&dev).unwrap();
        for name in ["neuron10", "neuron2", "neuron", "neurons", "null"] {
            files::write(&dev.join(name), b"").unwrap();
        }
        let described = root.path().join(SYSFS).join("neuron2");
        files::create_folder(&described.join("info/architecture")).unwrap();
        let instance = described.join("info/architecture/instance_type");
        files::write(&instance, b"Inf2\n").unwrap();
        files::write(&described.join("core_count"), b"2\n").unwrap();
        let nodes = examine(root.path()).nodes;
        let numbers: Vec<u32> = nodes.iter().map(|device| device.number).collect();
        assert_eq!(numbers, [2, 10]);
        assert_eq!(nodes[0].instance.as_deref(), Some("Inf2"));
        assert_eq!(nodes[0].cores, Some(2));
        assert_eq!(nodes[1].instance, None);
    }

    #[test]
    fn no_folder_means_no_devices() {
        assert!(examine(Path::new("/no/such/root")).nodes.is_empty());
    }
}
