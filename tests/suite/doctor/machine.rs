//! The machine around the chips: its kernel, its disk, its executor and the Hub.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Machine, finding, ids, says};
use crate::hub_server::{Fault, HubServer};
use crate::support::fixture;

#[test]
fn a_machine_without_a_chip_works_for_cpu_and_says_what_the_others_lack() {
    let machine = Machine::bare();
    let run = machine.doctor(&[]).succeeds();
    let text = run.stdout();
    assert!(
        text.starts_with(
            "this machine can trace and serve for cpu; for inf1, inf2, trn1 and trn2 it lacks\n\
             a device and the SDK\n"
        ),
        "{text}"
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    machine.doctor(&["--chip", "cpu"]).succeeds();
    let answer = machine.json(&["--chip", "inf2"]);
    assert_eq!(answer["schema_version"], 1);
    assert_eq!(answer["chips"].as_array().unwrap().len(), 1);
    assert_eq!(ids(&answer, "problem"), ["no-device", "no-sdk"]);
    for found in answer["findings"].as_array().unwrap() {
        assert!(!found["fix"].as_str().unwrap().is_empty(), "{found:#}");
    }
}

#[test]
fn garbage_in_the_files_of_the_kernel_is_not_believed() {
    let machine = Machine::inf2();
    for path in [
        "proc/cpuinfo",
        "proc/meminfo",
        "proc/self/cgroup",
        "proc/devices",
        "sys/module/neuron/version",
        "sys/devices/virtual/dmi/id/product_name",
    ] {
        let path = machine.file(path, "");
        fs::write(path, b"\xff\xfe\0:::\n::\n").unwrap();
    }
    let answer = machine.json(&[]);
    assert_eq!(answer["machine"]["driver"]["version"], Value::Null);
    assert_eq!(answer["machine"]["host"]["memory"]["total"], Value::Null);
    machine.doctor(&[]).succeeds();
}

/// What doctor says of the Hub at `endpoint`.
fn hub(endpoint: &str, token: Option<&str>) -> Value {
    let mut machine = Machine::bare();
    machine
        .place
        .set("HF_HUB_OFFLINE", "0")
        .set("HF_ENDPOINT", endpoint);
    if let Some(token) = token {
        machine.place.set("HF_TOKEN", token);
    }
    // The Hub alone never makes a machine unfit.
    machine.doctor(&["--chip", "cpu"]).succeeds();
    machine.json(&["--chip", "cpu"])
}

#[test]
fn the_hub_is_asked_once_and_shortly() {
    let server = HubServer::start(&fixture("feature-extraction"), "org/name");
    let state = |answer: &Value| {
        answer["machine"]["hub"]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(state(&hub(&server.endpoint(), None)), "answers");
    server.require_token("right");
    assert_eq!(state(&hub(&server.endpoint(), Some("right"))), "answers");
    let wrong = hub(&server.endpoint(), Some("wrong"));
    assert_eq!(state(&wrong), "rejects-token");
    assert!(!wrong.to_string().contains("wrong\""), "{wrong}");
    server.fail(Fault::web_page());
    let page = hub(&server.endpoint(), None);
    says(
        finding(&page, "hub-unreachable"),
        "why",
        "not what a Hub says",
    );
    server.heal();
    server.fail(Fault::status(503));
    server.forget_requests();
    let busy = hub(&server.endpoint(), None);
    says(finding(&busy, "hub-unreachable"), "why", "503");
    assert_eq!(server.requests().len(), 2, "one for each run");
}

#[test]
fn a_hub_that_is_silent_or_none_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    finding(&hub(&endpoint, None), "hub-unreachable");
    drop(silent);
    finding(&hub(&endpoint, None), "hub-unreachable");
    let nonsense = hub("no endpoint", None);
    says(finding(&nonsense, "hub-unreachable"), "why", "HF_ENDPOINT");
}

#[test]
fn offline_opens_no_connection() {
    let server = HubServer::start(&fixture("feature-extraction"), "org/name");
    let mut machine = Machine::bare();
    machine.place.set("HF_ENDPOINT", &server.endpoint());
    let answer = machine.json(&["--chip", "cpu"]);
    finding(&answer, "hub-offline");
    machine.place.set("HF_HUB_OFFLINE", "0");
    finding(
        &machine.json(&["--chip", "cpu", "--offline"]),
        "hub-offline",
    );
    assert!(server.requests().is_empty());
}

#[test]
fn a_full_disk_is_a_warning() {
    let mut machine = Machine::bare();
    // The kernel's own file system never has room.
    machine.place.set("HF_HUB_CACHE", "/proc/hub");
    let answer = machine.json(&["--chip", "cpu"]);
    let full = finding(&answer, "little-disk");
    says(full, "why", "/proc/hub");
    says(full, "fix", "HF_HUB_CACHE");
}

/// Runs the program without its companion, or with another one in its place.
fn with_executor(script: Option<&str>) -> Output {
    let machine = Machine::bare();
    let alone = machine.path("neuronc");
    let program = Path::new(env!("CARGO_BIN_EXE_neuronc"));
    if fs::hard_link(program, &alone).is_err() {
        fs::copy(program, &alone).unwrap();
    }
    if let Some(script) = script {
        machine.program("neuronc-torch", script);
    }
    let mut command = Command::new(alone);
    command
        .env_clear()
        .args(["doctor", "--offline"])
        .output()
        .unwrap()
}

#[test]
fn without_its_executor_the_machine_can_do_nothing() {
    let other = "echo 'neuronc-torch 9.9 (libtorch 2.9.0, protocol 99)'";
    for (script, expected) in [
        (None, "is missing"),
        (Some("echo hello"), "with `hello`"),
        (Some("exit 7"), "status 7"),
        (Some(other), "protocol 99"),
    ] {
        let output = with_executor(script);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{script:?}: {text}");
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat.starts_with("this machine can neither trace nor serve for cpu, inf1,"),
            "{flat}"
        );
        assert!(flat.contains(expected), "{script:?}: {flat}");
    }
}
