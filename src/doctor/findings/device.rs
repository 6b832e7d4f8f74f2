//! Findings about devices, driver and runtime library of a Neuron chip.

use crate::doctor::facts::MachineFacts;
use crate::doctor::finding::{Capability, Finding};
use crate::doctor::neuron_ls::ListedDevice;
use crate::doctor::runtime::{self, RuntimeLibrary};
use crate::doctor::skew::{self, Component};
use crate::profile::{ChipProfile, Sdk, reaches};

const SERVE: &[Capability] = &[Capability::Serve];

/// True when the machine has devices of the chip, or devices of which the chip is not known.
fn has_devices(machine: &MachineFacts, chip: &ChipProfile) -> bool {
    let owner = machine.instance.chip.as_ref();
    !machine.devices.nodes.is_empty() && owner.is_none_or(|owner| *owner == chip.name)
}

pub(super) fn of_chip(machine: &MachineFacts, chip: &ChipProfile, sdk: &Sdk) -> Vec<Finding> {
    let found = if has_devices(machine, chip) {
        [
            unknown_devices(machine),
            not_loaded(machine),
            driver_too_new(machine, sdk),
            runtime_library(machine, chip, sdk),
            contradiction(machine, chip),
            driver_unknown(machine),
            fewer_devices(machine),
            neuron_ls(machine),
            held(machine),
        ]
        .into_iter()
        .flatten()
        .collect()
    } else {
        vec![no_device(machine, chip)]
    };
    found.into_iter().map(|finding| finding.of(chip)).collect()
}

fn no_device(machine: &MachineFacts, chip: &ChipProfile) -> Finding {
    let finding = |what: &str| Finding::problem("no-device", SERVE, "a device", what);
    let owner = machine.instance.chip.as_deref();
    if !machine.devices.nodes.is_empty() {
        let other = owner.unwrap_or_default();
        return finding("the chip is not here")
            .why(format!(
                "the devices of this machine are those of `{other}`"
            ))
            .fix("run on an instance with that chip; tracing needs no device");
    }
    let is_ours = owner == Some(chip.name.as_str());
    let product = machine.instance.product.as_deref().unwrap_or_default();
    if machine.driver.is_loaded() && owner.is_none_or(|owner| owner == chip.name) {
        return finding("the driver is loaded, and no `/dev/neuron0` is here")
            .why("a container sees only the devices that it is given")
            .fix(
                "start it with `--device=/dev/neuron0`, once for each device; in Kubernetes \
                 request `aws.amazon.com/neuron`",
            );
    }
    if is_ours {
        return finding("the chip is here, and its driver is not loaded")
            .why(format!(
                "this is an `{product}`, and there is no `/dev/neuron0`"
            ))
            .fix(
                "load it with `sudo modprobe neuron`; if that finds none, install the package \
                 `aws-neuronx-dkms` for this kernel",
            );
    }
    finding("no Neuron device is here")
        .fix("run on an instance with that chip, or for `--chip cpu`; tracing needs no device")
}

fn unknown_devices(machine: &MachineFacts) -> Option<Finding> {
    let finding = Finding::warning("unknown-devices", "which chip the devices are is not known")
        .why(
            "neither the driver nor `neuron-ls` nor the type of instance tells; they are taken for \
             those of every chip asked about",
        )
        .fix("mount `/sys` into the container, or compare with the type of the instance");
    machine.instance.chip.is_none().then_some(finding)
}

fn not_loaded(machine: &MachineFacts) -> Option<Finding> {
    let finding = Finding::problem(
        "driver-not-loaded",
        SERVE,
        "a loaded driver",
        "the devices have nodes below `/dev`, and no driver",
    )
    .why("`/proc/devices` does not name `neuron`")
    .fix("load the driver with `sudo modprobe neuron`, or remove the stale nodes");
    let is_missing = !machine.driver.is_loaded() && machine.driver.registered == Some(false);
    is_missing.then_some(finding)
}

fn driver_unknown(machine: &MachineFacts) -> Option<Finding> {
    let finding = Finding::warning(
        "driver-version-unknown",
        "the version of the driver is not known",
    )
    .why("`/sys/module/neuron/version` cannot be read, so nothing is said on whether it fits")
    .fix("mount `/sys` into the container, or run `modinfo neuron` on its host");
    let is_unknown = machine.driver.version.is_none() && machine.driver.registered != Some(false);
    is_unknown.then_some(finding)
}

fn driver_too_new(machine: &MachineFacts, sdk: &Sdk) -> Option<Finding> {
    let version = machine.driver.version.as_deref()?;
    let ceiling = sdk.driver_ceiling.as_deref()?;
    let parts = ceiling.split('.').count();
    let series = version.split('.').take(parts).collect::<Vec<_>>().join(".");
    (!reaches(ceiling, &series)).then(|| {
        Finding::problem(
            "driver-too-new",
            SERVE,
            "a driver that still drives the chip",
            format!("driver {version} does not drive this chip"),
        )
        .why(format!("the series {ceiling} is the last one that does"))
        .fix(format!(
            "install that one and hold it: `sudo apt-get install aws-neuronx-dkms={ceiling}.*`, \
             `sudo apt-mark hold aws-neuronx-dkms`"
        ))
    })
}

/// The library that programs for the chip load: that of the machine, or of the first environment that
/// serves the chip.
fn library<'a>(machine: &'a MachineFacts, chip: &ChipProfile) -> Option<&'a RuntimeLibrary> {
    match runtime::of_machine(chip) {
        Some(path) => machine.runtime.iter().find(|library| library.path == path),
        None => {
            let serves = machine.sdk.iter().find(|sdk| sdk.serves(&chip.name))?;
            serves.chips.get(&chip.name)?.runtime.as_ref()
        }
    }
    .filter(|library| library.file.is_some())
}

fn runtime_library(machine: &MachineFacts, chip: &ChipProfile, sdk: &Sdk) -> Option<Finding> {
    let wanted = sdk.runtime_library.as_deref()?;
    let missing = |fix: String| {
        Finding::problem(
            "no-runtime-library",
            SERVE,
            "the runtime library",
            "the runtime library is missing",
        )
        .why(format!("there is no `{wanted}`"))
        .fix(fix)
    };
    if library(machine, chip).is_some() {
        return None;
    }
    match runtime::of_machine(chip) {
        Some(_) => Some(missing(
            "install the package `aws-neuronx-runtime-lib`".to_owned(),
        )),
        // Without an environment, the finding `no-sdk` already says what to install.
        None => machine
            .sdk
            .iter()
            .any(|sdk| sdk.serves(&chip.name))
            .then(|| missing(format!("install the package `{}` anew", package(sdk)))),
    }
}

fn package(sdk: &Sdk) -> String {
    sdk.module.replace('_', "-")
}

fn contradiction(machine: &MachineFacts, chip: &ChipProfile) -> Option<Finding> {
    let driver = machine.driver.version.as_deref()?;
    let runtime = library(machine, chip)?.version.as_deref()?;
    let rule = skew::broken(driver, runtime)?;
    let (needs, at_least) = (rule.needs.name(), rule.at_least);
    let fix = match rule.needs {
        Component::Driver => format!(
            "bring `aws-neuronx-dkms` on the host to {at_least} or newer, or take a container of an \
             older SDK"
        ),
        Component::Runtime => format!(
            "take a container of a newer SDK, or bring `aws-neuronx-runtime-lib` to {at_least} or \
             newer"
        ),
    };
    let finding = Finding::problem(
        "driver-and-runtime",
        SERVE,
        "a driver and a runtime library that fit together",
        format!("driver {driver} and runtime library {runtime} do not work together"),
    )
    .why(format!(
        "from {} {} on, the {needs} must be {at_least} or newer",
        rule.component.name(),
        rule.from
    ));
    Some(finding.fix(fix))
}

fn fewer_devices(machine: &MachineFacts) -> Option<Finding> {
    let row = machine.instance.row.as_ref()?;
    let here = machine.devices.nodes.len();
    let all = usize::try_from(row.devices).ok()?;
    (here < all).then(|| {
        Finding::warning(
            "fewer-devices",
            format!("{here} of the {all} devices of an {} are here", row.name),
        )
        .fix(
            "in a container, pass those that you want with `--device`; otherwise look for `neuron` \
             in the output of `sudo dmesg`",
        )
    })
}

fn neuron_ls(machine: &MachineFacts) -> Option<Finding> {
    let tool = &machine.neuron_ls;
    let install = "install the package `aws-neuronx-tools`";
    if tool.program.is_none() {
        return Some(
            Finding::note("no-neuron-ls", "who holds which core is not known")
                .why("`neuron-ls` is not here")
                .fix(install),
        );
    }
    if let Some(problem) = &tool.problem {
        return Some(
            Finding::warning("neuron-ls", "`neuron-ls` does not answer")
                .why(problem.clone())
                .fix("run it by hand; if it hangs or fails there too, reload the driver or reboot"),
        );
    }
    let (nodes, listed) = (machine.devices.nodes.len(), tool.devices.len());
    (nodes != listed).then(|| {
        Finding::warning(
            "neuron-ls",
            format!("`neuron-ls` lists {listed} devices, and below `/dev` are {nodes}"),
        )
        .fix("look for `neuron` in the output of `sudo dmesg`")
    })
}

fn held(machine: &MachineFacts) -> Option<Finding> {
    let listed = &machine.neuron_ls.devices;
    let is_held = |device: &&ListedDevice| !device.neuron_processes.is_empty();
    let held: Vec<&ListedDevice> = listed.iter().filter(is_held).collect();
    let who = held.iter().flat_map(|device| {
        let number = device.neuron_device;
        let line = move |pid| format!("process {pid} holds cores of device {number}");
        device.neuron_processes.iter().map(move |p| line(p.pid))
    });
    let why: Vec<String> = who.collect();
    let what = if held.len() == listed.len() {
        "every device is held by another process".to_owned()
    } else {
        format!(
            "{} of {} devices are held by other processes",
            held.len(),
            listed.len()
        )
    };
    (!held.is_empty()).then(|| {
        Finding::warning("held-devices", what)
            .why(why.join("\n"))
            .fix(
                "a core belongs to one process until that ends: stop these, or serve on the cores \
                 that they leave",
            )
    })
}
