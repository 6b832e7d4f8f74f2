//! Rules on which driver of a host works with which runtime library, which may be that of a container.

use crate::profile::reaches;

/// One of the two components that must fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    Driver,
    Runtime,
}

impl Component {
    pub fn name(self) -> &'static str {
        match self {
            Component::Driver => "driver",
            Component::Runtime => "runtime library",
        }
    }
}

/// From version `from` of `component` on, `needs` must be of version `at_least` or newer.
#[derive(Debug, PartialEq, Eq)]
pub struct SkewRule {
    pub component: Component,
    pub from: &'static str,
    pub needs: Component,
    pub at_least: &'static str,
}

/// Both rules are in the README of AWS's deep learning containers for Neuron, as of SDK 2.32.0.
const RULES: [SkewRule; 2] = [
    // Runtime 2.32, of SDK 2.30, does not work with drivers up to 2.26.
    SkewRule {
        component: Component::Runtime,
        from: "2.32",
        needs: Component::Driver,
        at_least: "2.27",
    },
    // Driver 2.29, of SDK 2.31, needs a runtime from 2.33 on.
    SkewRule {
        component: Component::Driver,
        from: "2.29",
        needs: Component::Runtime,
        at_least: "2.33",
    },
];

/// The rule that these two versions break; `None` where they fit together.
pub fn broken(driver: &str, runtime: &str) -> Option<&'static SkewRule> {
    let version = |component| match component {
        Component::Driver => driver,
        Component::Runtime => runtime,
    };
    RULES.iter().find(|rule| {
        reaches(version(rule.component), rule.from) && !reaches(version(rule.needs), rule.at_least)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_release_ships_together_fits() {
        // From the manifests of SDK 2.20.2 to 2.32.0: driver and runtime library.
        for (driver, runtime) in [
            ("2.18.20.0", "2.22.19.0"),
            ("2.24.7.0", "2.28.23.0"),
            ("2.26.10.0", "2.30.51.0"),
            ("2.27.4.0", "2.31.24.0"),
            ("2.28.0.0", "2.32.31.0"),
            ("2.29.0.0", "2.33.10.0"),
            ("2.30.2.0", "2.34.10.0"),
        ] {
            assert_eq!(broken(driver, runtime), None, "{driver} {runtime}");
        }
    }

    #[test]
    fn a_container_too_new_or_too_old_for_its_host_is_found() {
        let new = broken("2.26.10.0", "2.32.31.0").unwrap();
        assert_eq!((new.needs, new.at_least), (Component::Driver, "2.27"));
        assert_eq!(broken("2.27.4.0", "2.32.31.0"), None);
        let old = broken("2.29.0.0", "2.32.31.0").unwrap();
        assert_eq!((old.needs, old.at_least), (Component::Runtime, "2.33"));
        assert_eq!(broken("2.28.0.0", "2.31.24.0"), None);
    }
}
