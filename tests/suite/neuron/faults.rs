//! Compilers that fail, each in a way of its own: the exit code, what is said, and that nothing is left.
//! What is said of more of them is below `tests/errors/neuron/`.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{Bench, ONE};

/// The exit code and words of the message for a fault of the compiler.
type CompilerFault<'a> = (&'a str, i32, &'a [&'a str]);

/// What the remedy for a full memory of the host says, and not that for the memory of the chip.
const HOST_MEMORY: [&str; 3] = ["memory of this machine", "--jobs 1", "bigger machine"];

fn fails(bench: &Bench, (fault, code, parts): CompilerFault) -> String {
    bench.set_faults(&json!({"compile": fault}));
    let run = bench.trace(&ONE);
    let stderr = run.stderr();
    run.fails(code, &[parts, &["1x16", "log: ", "sh "]].concat());
    assert!(!bench.place.path("b").exists(), "{fault}: {stderr}");
    assert!(bench.processes().is_empty(), "{:?}", bench.processes());
    let shown = stderr
        .lines()
        .filter(|line| line.starts_with("        | "))
        .count();
    assert!((1..=20).contains(&shown), "{fault}, {shown}:\n{stderr}");
    stderr
}

fn goes_on_without_fault(bench: &Bench) {
    bench.set_faults(&json!({}));
    bench.trace(&ONE).succeeds();
    assert!(bench.work_folders().is_empty());
}

#[test]
fn neuronx_cc_fails() {
    let Some(bench) = Bench::new("inf2") else {
        return;
    };
    let cases: [CompilerFault; 3] = [
        (
            "out-of-memory",
            6,
            &[&HOST_MEMORY[..], &["[F137]", "neuronc explain F137"]].concat(),
        ),
        ("script-killed", 6, &HOST_MEMORY),
        ("crashed", 5, &["failed with -11"]),
    ];
    for case in cases {
        fails(&bench, case);
    }
    goes_on_without_fault(&bench);
}

#[test]
fn neuron_cc_fails() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    let cases: [CompilerFault; 6] = [
        ("unsupported", 5, &["Unsupported operator: topk", "0 % of"]),
        ("killed", 6, &HOST_MEMORY),
        ("out-of-memory", 6, &HOST_MEMORY),
        ("script-killed", 6, &HOST_MEMORY),
        ("crashed", 5, &["Compile command returned: -11", "0 % of"]),
        ("no-artifact", 5, &["graph_def.neff", "0 % of"]),
    ];
    for case in cases {
        fails(&bench, case);
    }
    goes_on_without_fault(&bench);
}

#[test]
fn an_internal_error_is_shown_and_runs_again_by_itself() {
    for (chip, error) in [("inf2", "NCC_IBIR440"), ("inf1", "exit status (134)")] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        let stderr = fails(
            &bench,
            ("internal-error", 5, &["Internal Compiler Error", error]),
        );
        let log = after(&stderr, "log: ");
        assert!(fs::read_to_string(log).unwrap().contains(error));
        let again = Command::new("sh")
            .arg(after(&stderr, "this bucket alone: sh "))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .output()
            .unwrap();
        assert_eq!(again.status.code(), Some(1));
        let events = String::from_utf8(again.stdout).unwrap();
        assert!(events.contains(r#""event": "failed""#), "{events}");
        let said = String::from_utf8(again.stderr).unwrap();
        assert!(said.contains(error), "{said}");
        goes_on_without_fault(&bench);
    }
}

/// The rest of the line that contains `label`.
fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let at = text
        .find(label)
        .unwrap_or_else(|| panic!("no `{label}` in {text}"));
    text[at + label.len()..].lines().next().unwrap()
}

#[test]
fn a_compiler_that_hangs_is_stopped() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        bench.set_faults(&json!({"compile": "hang"}));
        let hanging = [&ONE[..], &["--compile-timeout", "5s"]].concat();
        let parts = ["1x16", "within 5s", "--compile-timeout", "log: "];
        bench.trace(&hanging).fails(5, &parts);
        assert!(bench.processes().is_empty(), "{:?}", bench.processes());
        goes_on_without_fault(&bench);
    }
}

#[test]
fn a_gigabyte_of_output_is_kept_in_part() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        bench.set_faults(&json!({"compile": "print"}));
        bench.trace(&ONE).succeeds();
        let log = bench.place.path("b/logs/b1_s16.log");
        let bytes = fs::metadata(&log).unwrap().len();
        assert!((1 << 20..100 << 20).contains(&bytes), "{bytes}");
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        assert!(text.contains("bytes were not kept here"));
        assert!(text.contains("Compiler status PASS"));
        bench.place.run(&["report", "b"]).succeeds();
    }
}
