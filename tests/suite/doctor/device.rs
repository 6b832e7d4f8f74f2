//! Devices, driver, runtime library and `neuron-ls`.

use std::fs;

use super::{Machine, finding, ids, says};

#[test]
fn a_container_must_fit_its_host() {
    for (driver, runtime, fix) in [
        ("2.26.10.0", "2.32.31.0", "bring `aws-neuronx-dkms`"),
        ("2.29.0.0", "2.32.31.0", "container of a newer SDK"),
    ] {
        let machine = Machine::with("inf2.xlarge", "Inf2", (driver, runtime));
        let answer = machine.json(&["--chip", "inf2"]);
        assert_eq!(ids(&answer, "problem"), ["driver-and-runtime", "no-sdk"]);
        says(finding(&answer, "driver-and-runtime"), "fix", fix);
    }
    let machine = Machine::inf2();
    assert_eq!(
        ids(&machine.json(&["--chip", "inf2"]), "problem"),
        ["no-sdk"]
    );
    fs::remove_file(machine.path("opt/aws/neuron/lib/libnrt.so.2.33.10.0")).unwrap();
    let answer = machine.json(&["--chip", "inf2"]);
    assert_eq!(ids(&answer, "problem"), ["no-runtime-library", "no-sdk"]);
}

#[test]
fn missing_devices_have_different_reasons() {
    let machine = Machine::inf2();
    fs::remove_file(machine.path("dev/neuron0")).unwrap();
    let answer = machine.json(&["--chip", "inf2"]);
    says(
        finding(&answer, "no-device"),
        "fix",
        "--device=/dev/neuron0",
    );

    fs::remove_dir_all(machine.path("sys/module")).unwrap();
    machine.file("proc/devices", "Character devices:\n  1 mem\n");
    let answer = machine.json(&["--chip", "inf2"]);
    says(finding(&answer, "no-device"), "fix", "modprobe neuron");
    let answer = machine.json(&["--chip", "trn1"]);
    says(finding(&answer, "no-device"), "what", "no Neuron device");

    machine.file("dev/neuron0", "");
    let answer = machine.json(&["--chip", "inf2"]);
    finding(&answer, "driver-not-loaded");
}

#[test]
fn what_a_container_hides_is_a_warning() {
    let machine = Machine::inf2();
    fs::remove_dir_all(machine.path("sys")).unwrap();
    let answer = machine.json(&["--chip", "trn1"]);
    let warnings = ids(&answer, "warning");
    assert_eq!(warnings, ["unknown-devices", "driver-version-unknown"]);
    let large = Machine::with("inf2.24xlarge", "Inf2", ("2.29.0.0", "2.33.10.0"));
    let answer = large.json(&["--chip", "inf2"]);
    says(
        finding(&answer, "fewer-devices"),
        "what",
        "1 of the 6 devices",
    );
}

#[test]
fn who_holds_a_device_is_told_with_the_cores_it_asked_for() {
    let machine = Machine::inf2();
    machine.neuron_ls(
        r#"echo '[{"neuron_device": 0, "nc_count": 2, "neuron_processes": [{"pid": 4242,
        "command": "python3 serve.py", "neuron_runtime_version": "2.33.10"}]}]'"#,
    );
    machine.file(
        "proc/4242/environ",
        "SECRET=abc\0NEURON_RT_VISIBLE_CORES=1\0",
    );
    let run = machine.doctor(&["--chip", "inf2"]);
    let text = run.stdout();
    let holder = "device 0: process 4242 (`python3 serve.py`), NEURON_RT_VISIBLE_CORES=1";
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(holder), "{text}");
    assert!(text.contains("every device is held"), "{text}");
    assert!(!text.contains("abc"), "{text}");
}

#[test]
fn a_tool_that_fails_does_not_fail_the_doctor() {
    let machine = Machine::inf2();
    let faults = [
        ("exec sleep 600", "did not finish"),
        ("echo broken; exit 0", "not the list of devices"),
        ("echo no driver >&2; exit 1", "no driver"),
        ("kill -SEGV $$", "signal 11"),
        ("exec yes '[[[['", "prints more than"),
        (
            "echo '[{\"neuron_device\": \"zero\"}]'",
            "not the list of devices",
        ),
    ];
    for (script, expected) in faults {
        machine.neuron_ls(script);
        let answer = machine.json(&["--chip", "inf2"]);
        says(finding(&answer, "neuron-ls"), "why", expected);
    }
    machine.neuron_ls("echo '[]'");
    let answer = machine.json(&["--chip", "inf2"]);
    says(
        finding(&answer, "neuron-ls"),
        "what",
        "lists 0 devices, and below `/dev` are 1",
    );
    fs::remove_file(machine.path("opt/aws/neuron/bin/neuron-ls")).unwrap();
    finding(&machine.json(&["--chip", "inf2"]), "no-neuron-ls");
}
