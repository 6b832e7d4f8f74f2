//! Ctrl-C, and two programs that compile the same.

use std::process::Command;

use serde_json::json;

use super::{Bench, ONE, THREE, wait_until};

/// Whether a compiler, and not only the interpreter that starts it, is running.
fn compiler_runs(bench: &Bench) -> bool {
    let processes = bench.processes();
    processes
        .iter()
        .any(|line| line.contains("neuronxcc") || line.contains("neuroncc"))
}

fn interrupt(child: &std::process::Child, signal: &str) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status();
    assert!(status.unwrap().success());
}

#[test]
fn an_interrupted_compilation_leaves_no_process_and_no_draft() {
    for (chip, signal) in [("inf2", "-INT"), ("inf1", "-TERM")] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        bench.set_faults(&json!({"compile": "hang"}));
        let child = bench.start(&[&THREE[..], &["--jobs", "2"]].concat());
        wait_until("a compiler hangs", || compiler_runs(&bench));
        interrupt(&child, signal);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains("interrupted"), "{stderr}");
        wait_until("the compilers end", || bench.processes().is_empty());
        let left: Vec<_> = std::fs::read_dir(bench.place.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "sdk" && name != ".cache")
            .collect();
        assert!(left.is_empty(), "{left:?}");
        bench.set_faults(&json!({}));
        bench.trace(&ONE).succeeds();
    }
}

#[test]
fn the_second_of_two_is_refused_and_the_first_goes_on() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    bench.set_faults(&json!({"compile": "hang"}));
    let first = bench.start(&ONE);
    wait_until("the compiler hangs", || compiler_runs(&bench));
    let second = bench.trace(&ONE);
    second.fails(2, &["another neuronc", "the same plan", "wait for it"]);
    assert!(compiler_runs(&bench), "the second run stopped the first");
    interrupt(&first, "-INT");
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(130));
    bench.set_faults(&json!({}));
    bench.trace(&ONE).succeeds();
}
