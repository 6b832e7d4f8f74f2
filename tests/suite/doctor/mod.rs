//! `neuronc doctor` on machines made of real files: devices, drivers, libraries, tools and environments.

mod device;
mod machine;
mod sdk;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::{Run, Workplace, repository, skip_outside_of_ci};

const VENV_2_9: &str = "opt/aws_neuronx_venv_pytorch_2_9";
const VENV_INF1: &str = "opt/aws_neuron_venv_pytorch_1_13_inf1";

/// A machine whose files lie in a folder.
struct Machine {
    place: Workplace,
}

impl Machine {
    /// A machine with nothing, and no `python3` on the `PATH`.
    fn bare() -> Self {
        let mut place = Workplace::new();
        let root = place.path("root").display().to_string();
        place.set("NEURONC_ROOT", &root).set("HF_HUB_OFFLINE", "1");
        fs::create_dir(place.path("root")).unwrap();
        Self { place }
    }

    /// An inf2.xlarge as SDK 2.31.1 leaves it, without any environment.
    fn inf2() -> Self {
        Self::with("inf2.xlarge", "Inf2", ("2.29.0.0", "2.33.10.0"))
    }

    fn with(product: &str, family: &str, (driver, runtime): (&str, &str)) -> Self {
        let machine = Self::bare();
        machine.file("sys/devices/virtual/dmi/id/product_name", product);
        machine.file("proc/devices", "Character devices:\n  1 mem\n240 neuron\n");
        machine.file("dev/neuron0", "");
        let described = "sys/devices/virtual/neuron_device/neuron0/info/architecture";
        machine.file(&format!("{described}/instance_type"), family);
        machine.driver(driver);
        machine.runtime(runtime);
        machine.neuron_ls(
            r#"echo '[{"neuron_device": 0, "bdf": "00:1f.0", "numa_node": "-1", "nc_count": 2,
            "memory_size": 34359738368, "neuron_processes": []}]'"#,
        );
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.place.path("root").join(path)
    }

    fn file(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn driver(&self, version: &str) {
        self.file("sys/module/neuron/version", &format!("{version}\n"));
    }

    /// The library and the link to it, as the package installs them.
    fn runtime(&self, version: &str) {
        let name = format!("libnrt.so.{version}");
        let library = self.file(&format!("opt/aws/neuron/lib/{name}"), "");
        let link = library.with_file_name("libnrt.so.1");
        // None at first.
        let _ = fs::remove_file(&link);
        symlink(name, link).unwrap();
    }

    fn program(&self, path: &str, script: &str) {
        let path = self.file(path, &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn neuron_ls(&self, script: &str) {
        self.program("opt/aws/neuron/bin/neuron-ls", script);
    }

    /// Makes an environment of the SDK's double; false, with a printed reason, where that cannot be.
    fn environment(&self, kind: &str, folder: &str, options: &[&str]) -> bool {
        fs::create_dir_all(self.path("opt")).unwrap();
        let output = Command::new("python3")
            .arg(repository().join("tests/sdk/make_environment.py"))
            .arg(kind)
            .arg(self.path(folder))
            .args(options)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => true,
            Some(3) => {
                skip_outside_of_ci(said);
                false
            }
            _ => panic!("make_environment.py {kind}: {said}"),
        }
    }

    fn doctor(&self, more: &[&str]) -> Run {
        self.place.run(&[&["doctor"], more].concat())
    }

    fn json(&self, more: &[&str]) -> Value {
        self.doctor(&[more, &["--format", "json"]].concat()).json()
    }
}

/// The findings of that severity, by their names.
fn ids(answer: &Value, severity: &str) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap().iter();
    let of = findings.filter(|finding| finding["severity"] == severity);
    of.map(|finding| finding["id"].as_str().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn finding<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let findings = answer["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("no `{id}` in {findings:#?}"))
}

#[track_caller]
fn says(value: &Value, key: &str, part: &str) {
    let text = value[key].as_str().unwrap_or_default();
    assert!(text.contains(part), "`{part}` is not in {key} of {value:#}");
}
