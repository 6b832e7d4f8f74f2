//! Examines which type of instance this machine is, and which chip it has.

use std::path::Path;

use serde::Serialize;

use crate::doctor::devices::Devices;
use crate::doctor::kernel_file::fact;
use crate::doctor::neuron_ls::NeuronLs;
use crate::profile::{self, ChipProfile};

/// The firmware's product name, which is the type of instance on EC2.
const PRODUCT: &str = "sys/devices/virtual/dmi/id/product_name";

/// The type of instance, and the chip that it has.
#[derive(Debug, Clone, Default, Serialize)]
pub struct InstanceFacts {
    /// The firmware's product name, such as `inf2.xlarge`.
    pub product: Option<String>,
    /// Name of the chip, as the driver, else `neuron-ls`, else the type of instance tells.
    pub chip: Option<String>,
    /// The row of this type in the profile's table of instances.
    pub row: Option<profile::InstanceType>,
}

pub fn examine(
    root: &Path,
    known: &[ChipProfile],
    devices: &Devices,
    neuron_ls: &NeuronLs,
) -> InstanceFacts {
    let product = fact(&root.join(PRODUCT));
    let by_driver = devices.nodes.iter().filter_map(|d| d.instance.as_deref());
    let by_tool = neuron_ls
        .devices
        .iter()
        .filter_map(|d| d.instance_type.as_deref());
    let mut told = by_driver.chain(by_tool).chain(product.as_deref());
    let chip = told.find_map(|name| known.iter().find(|chip| has_family(chip, name)));
    let rows = known.iter().flat_map(|chip| &chip.instances);
    let row = rows
        .into_iter()
        .find(|row| Some(&row.name) == product.as_ref())
        .cloned();
    InstanceFacts {
        chip: chip.map(|chip| chip.name.clone()),
        product,
        row,
    }
}

/// True when `name` is the family of the chip's instances or an instance of it: `Inf2` is the family of
/// `inf2.xlarge`.
fn has_family(chip: &ChipProfile, name: &str) -> bool {
    let family = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    let mut families = chip.instances.iter().map(|row| family(&row.name));
    families.any(|known| known == family(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::devices::DeviceNode;
    use crate::files;

    fn known() -> Vec<ChipProfile> {
        let load = |name| profile::load(name).unwrap();
        profile::names().into_iter().map(load).collect()
    }

    fn on(product: &str, devices: &Devices) -> InstanceFacts {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(PRODUCT);
        files::create_folder(files::parent(&path)).unwrap();
        files::write(&path, format!("{product}\n").as_bytes()).unwrap();
        examine(root.path(), &known(), devices, &NeuronLs::default())
    }

    #[test]
    fn every_type_of_every_table_leads_to_its_chip() {
        for chip in known() {
            for row in &chip.instances {
                let found = on(&row.name, &Devices::default());
                assert_eq!(found.chip.as_deref(), Some(chip.name.as_str()));
                assert_eq!(found.row.as_ref(), Some(row));
            }
        }
        let laptop = on("ThinkPad", &Devices::default());
        assert!(laptop.chip.is_none() && laptop.row.is_none());
    }

    #[test]
    fn the_driver_is_asked_before_the_firmware() {
        let device = DeviceNode {
            number: 0,
            instance: Some("Trn2".to_owned()),
            name: None,
            cores: None,
        };
        let found = on(
            "trn2n.48xlarge",
            &Devices {
                nodes: vec![device],
            },
        );
        assert_eq!(found.chip.as_deref(), Some("trn2"));
        assert!(found.row.is_none());
    }
}
