//! `verify` and `serve` of what was compiled for a chip, on a machine that seems to have it: `neuronc-torch`
//! with the library of inf2, and the interpreter of inf1.

use std::fs;

use serde_json::{Value, json};

use super::device::{set_faults, with_device};
use super::server::{ChipServer, kill};
use super::{Bench, wait_until};

/// Long enough for what the fixture has expected outputs for.
const GRID: [&str; 6] = [
    "--batch-size",
    "1,2",
    "--sequence-length",
    "48",
    "--jobs",
    "2",
];

const SDK: [&str; 2] = ["--sdk", "sdk"];

/// A machine with a device of the chip, and the bundle `b` for it.
fn compiled(chip: &str) -> Option<Bench> {
    let bench = with_device(chip)?;
    set_faults(&bench, json!({}));
    // Both buckets run on the device, at the same time: each process takes cores of its own.
    bench.trace(&GRID).succeeds();
    Some(bench)
}

/// A text and the vector that transformers computes for it.
fn expected(bench: &Bench) -> (Value, Vec<f64>) {
    let text = fs::read_to_string(bench.model.join("expected.json")).unwrap();
    let known: Value = serde_json::from_str(&text).unwrap();
    let case = &known["cases"][0];
    let width = case["output"]["shape"][1].as_u64().unwrap() as usize;
    let values = case["output"]["values"].as_array().unwrap().iter();
    let vector = values.take(width).map(|value| value.as_f64().unwrap());
    (case["rows"][0]["text"].clone(), vector.collect())
}

#[track_caller]
fn answers_as_transformers(server: &ChipServer, bench: &Bench) {
    let (text, wanted) = expected(bench);
    let answer = server.answer(&text);
    let found = answer.as_array().unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        let difference = found.as_f64().unwrap() - wanted;
        assert!(difference.abs() < 1e-5, "{found} and not {wanted}");
    }
}

fn verified_and_served(chip: &str, runtime: &str) {
    let Some(bench) = compiled(chip) else {
        return;
    };
    let words = [&["verify", "b", "--format", "json"], &SDK[..]].concat();
    let verification = bench.place.run(&words).succeeds().json();
    assert_eq!(verification["passed"], true, "{verification}");

    let server = ChipServer::start(&bench, "serve.log", &SDK);
    assert!(
        server.first_lines.contains(runtime),
        "{}",
        server.first_lines
    );
    answers_as_transformers(&server, &bench);
    let before = server.wait_worker(1, None);
    kill(before);
    server.wait_worker(1, Some(before));
    assert!(server.log().contains("signal: 9"), "{}", server.log());
    answers_as_transformers(&server, &bench);
    assert_eq!(server.terminate().code(), Some(0));
    wait_until("no process of the SDK is left", || {
        bench.processes().is_empty()
    });

    // The library does other things from now on: what is sealed does not agree any more.
    set_faults(&bench, json!({"runtime": "off:0.5"}));
    let words = [&["verify", "b"], &SDK[..]].concat();
    bench.place.run(&words).fails(1, &["does not compute"]);
}

#[test]
fn inf2_runs_in_our_process_with_the_library_of_its_sdk() {
    verified_and_served("inf2", "torch_neuronx/lib/libtorchneuron.so");
}

#[test]
fn inf1_runs_in_the_interpreter_of_its_sdk() {
    verified_and_served("inf1", "bin/python3 with torch_neuron");
}

#[test]
fn a_device_that_vanishes_is_named_and_the_other_cores_go_on() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = compiled(chip) else {
            return;
        };
        let server = ChipServer::start(&bench, "serve.log", &SDK);
        let first = server.wait_worker(0, None);
        server.wait_worker(1, None);
        fs::remove_file(bench.place.path("root/dev/neuron0")).unwrap();
        kill(first);
        server.wait_down(0, "sees no Neuron device");
        server.wait_down(0, "neuronc explain no-device");
        answers_as_transformers(&server, &bench);
        assert_eq!(server.terminate().code(), Some(0));
        let words = [&["verify", "b"], &SDK[..]].concat();
        let gone = ["which is not here", "neuronc doctor"];
        bench.place.run(&words).fails(4, &gone);
        let words = [&["serve", "b", "--port", "0"], &SDK[..]].concat();
        bench.place.run(&words).fails(4, &gone);
    }
}

#[test]
fn cores_that_another_process_holds_are_named_and_taken_when_they_are_free() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = compiled(chip) else {
            return;
        };
        let first = ChipServer::start(&bench, "first.log", &SDK);
        let count = first.cores().len();
        for core in 0..count {
            first.wait_worker(core, None);
        }
        let words = [&["verify", "b"], &SDK[..]].concat();
        let held = ["Another process holds the cores", "`neuron-ls`"];
        bench.place.run(&words).fails(4, &held);
        let second = ChipServer::start(&bench, "second.log", &SDK);
        held.iter().for_each(|part| second.wait_down(0, part));
        assert_eq!(first.terminate().code(), Some(0));
        second.wait_worker(0, None);
        answers_as_transformers(&second, &bench);
        assert_eq!(second.terminate().code(), Some(0));
    }
}
