//! Environments with an SDK, made by the doubles (tests/sdk/README.md) or pretended by a script.

use serde_json::json;

use super::{Machine, VENV_2_9, VENV_INF1, finding, ids, says};

#[test]
fn an_instance_with_everything_is_ready_for_its_chip_and_traces_for_others() {
    let machine = Machine::inf2();
    if !machine.environment("neuronx", VENV_2_9, &[]) {
        return;
    }
    let ready = machine.doctor(&["--chip", "inf2"]).succeeds().stdout();
    assert!(
        ready.starts_with("this machine can trace and serve for inf2\n"),
        "{ready}"
    );
    for part in [
        "inf2.xlarge",
        "2.33.10.0",
        "2.29.0.0",
        "32.0 GiB",
        "for inf2",
    ] {
        assert!(ready.contains(part), "`{part}` is not in\n{ready}");
    }
    let answer = machine.json(&[]);
    let sentence = answer["answer"].as_str().unwrap();
    assert_eq!(
        sentence,
        "this machine can trace and serve for cpu and inf2, and trace for trn1 and trn2; for inf1 it \
         lacks a device and the SDK; to serve for trn1 and trn2 it lacks a device"
    );
    says(finding(&answer, "no-device"), "why", "`inf2`");
    assert_eq!(ids(&answer, "warning"), Vec::<String>::new());
    let instance = &answer["machine"]["instance"];
    assert_eq!(
        (&instance["chip"], &instance["row"]["devices"]),
        (&"inf2".into(), &1.into())
    );
}

#[test]
fn an_environment_without_its_compiler_can_serve_and_not_trace() {
    let machine = Machine::inf2();
    if !machine.environment("neuronx", VENV_2_9, &["--without", "neuronx-cc"]) {
        return;
    }
    machine.file("proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 1048576 kB\n");
    let answer = machine.json(&["--chip", "inf2"]);
    assert_eq!(ids(&answer, "problem"), ["no-compiler"]);
    assert_eq!(
        answer["answer"],
        "this machine can serve for inf2; to trace for inf2 it lacks the compiler"
    );
    says(finding(&answer, "little-memory"), "what", "1.0 GiB");
}

/// An interpreter that says of itself what `probed` is.
fn pretend(machine: &Machine, probed: &serde_json::Value) {
    let script = format!("cat >/dev/null\nprintf '%s\\n' '{probed}'");
    machine.program(&format!("{VENV_2_9}/bin/python3"), &script);
}

#[test]
fn an_environment_of_another_release_and_without_its_library_is_told() {
    let machine = Machine::inf2();
    let mut probed = json!({
        "event": "probed",
        "python": "3.12.3",
        "executable": "/x/bin/python3",
        "packages": {"torch-neuronx": "2.9.0.2.14.27725", "neuronx-cc": "2.26.6360.0"},
        "torch": "2.9.0+cu128",
        "cxx11_abi": true,
        "missing": {},
        "site_packages": ["/no/such/site-packages"],
    });
    pretend(&machine, &probed);
    let answer = machine.json(&["--chip", "inf2"]);
    assert_eq!(ids(&answer, "problem"), ["no-plugin"]);
    let why = finding(&answer, "other-release")["why"].as_str().unwrap();
    assert_eq!(why, "torch-neuronx 2.9.0.2.14.27725, not 2.9.0.2.15.32035");
    probed["torch"] = "2.8.0".into();
    pretend(&machine, &probed);
    let answer = machine.json(&["--chip", "inf2"]);
    says(finding(&answer, "no-sdk"), "why", "torch 2.8.0");
    probed["torch"] = "2.9.0".into();
    probed["python"] = "3.6.9".into();
    pretend(&machine, &probed);
    let answer = machine.json(&["--chip", "inf2"]);
    says(finding(&answer, "no-sdk"), "why", "Python 3.6.9");
}

#[test]
fn inf1_needs_its_old_driver_and_the_library_of_its_wheel() {
    let machine = Machine::with("inf1.xlarge", "Inf1", ("2.24.7.0", "2.28.23.0"));
    if !machine.environment("inf1", VENV_INF1, &[]) {
        return;
    }
    let answer = machine.json(&["--chip", "inf1"]);
    assert_eq!(ids(&answer, "problem"), ["no-runtime-library"]);
    machine.file(
        &format!("{VENV_INF1}/lib/python3.11/site-packages/torch_neuron/lib/libnrt.so.1"),
        "",
    );
    machine.doctor(&["--chip", "inf1"]).succeeds();
    for version in ["2.25.4.0", "2.101.0.0", "3.0.0.0"] {
        machine.driver(version);
        let answer = machine.json(&["--chip", "inf1"]);
        assert_eq!(ids(&answer, "problem"), ["driver-too-new"]);
        says(
            finding(&answer, "driver-too-new"),
            "fix",
            "aws-neuronx-dkms=2.24.*",
        );
    }
}

#[test]
fn the_wrong_sdk_and_the_placeholder_are_called_that() {
    let machine = Machine::bare();
    if !machine.environment("placeholder", VENV_INF1, &[]) {
        return;
    }
    assert!(machine.environment("inf1", "opt/mine", &[]));
    let answer = machine.json(&["--chip", "inf1"]);
    assert_eq!(
        ids(&answer, "problem"),
        ["no-device", "placeholder-package"]
    );
    says(
        finding(&answer, "placeholder-package"),
        "fix",
        "--extra-index-url",
    );
    let mine = machine.path("opt/mine").display().to_string();
    // What is named is the only candidate, whatever else is there.
    let answer = machine.json(&["--chip", "inf1", "--sdk", &mine]);
    assert_eq!(ids(&answer, "problem"), ["no-device"]);
    let answer = machine.json(&["--chip", "inf2", "--sdk", &mine]);
    says(finding(&answer, "no-sdk"), "why", "SDK of other chips");
}

#[test]
fn an_environment_that_is_none_is_told_apart() {
    let machine = Machine::bare();
    machine.program(&format!("{VENV_2_9}/bin/python3"), "echo I am no Python");
    let answer = machine.json(&["--chip", "inf2"]);
    says(finding(&answer, "no-sdk"), "why", "did not answer");
}
