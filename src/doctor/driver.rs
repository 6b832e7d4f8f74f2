//! Examines the kernel module that drives the devices.

use std::path::Path;

use serde::Serialize;

use crate::doctor::kernel_file::fact;

/// Name of the driver in `/proc/devices` and below `/sys/module`.
const NAME: &str = "neuron";

/// The driver as `/proc` and `/sys` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Driver {
    /// Version of the loaded module, such as `2.24.7.0`.
    pub version: Option<String>,
    /// True when `/proc/devices` names it; `None` where that file cannot be read.
    pub registered: Option<bool>,
}

pub fn examine(root: &Path) -> Driver {
    let devices = fact(&root.join("proc/devices"));
    Driver {
        version: fact(&root.join("sys/module").join(NAME).join("version")),
        registered: devices.map(|text| is_registered(&text)),
    }
}

impl Driver {
    pub fn is_loaded(&self) -> bool {
        self.version.is_some() || self.registered == Some(true)
    }
}

/// Each line of `/proc/devices` is a number and a name.
fn is_registered(text: &str) -> bool {
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1));
    names.into_iter().any(|name| name == NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_a_name_of_its_own() {
        let text = "Character devices:\n  1 mem\n240 neuron\n\nBlock devices:\n  7 loop\n";
        assert!(is_registered(text));
        assert!(!is_registered(&text.replace("neuron", "neuron_fake")));
        assert!(!is_registered("neuron\n"));
    }
}
