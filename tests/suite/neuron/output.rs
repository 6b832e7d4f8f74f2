//! What is printed, what is kept in the bundle, and what decides that there is nothing to do.

use std::fs;

use serde_json::json;

use super::{Bench, ONE, make_environment};

#[test]
fn the_output_of_the_compiler_is_shown_when_asked_for_and_always_kept() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        bench.set_faults(&json!({"compile": "slow:0.5"}));
        let quiet = bench.trace(&ONE).succeeds();
        assert_eq!(quiet.stderr(), "");
        let kept = fs::read_to_string(bench.place.path("b/logs/b1_s16.log")).unwrap();
        assert!(kept.contains("\nCompiler status PASS\n"), "{kept}");
        assert!(kept.lines().any(|line| line.starts_with("....")), "{kept}");
        let loud = bench.trace(&[&ONE[..], &["--force", "-v"]].concat());
        let stderr = loud.succeeds().stderr();
        let shown: String = stderr
            .lines()
            .filter_map(|line| line.strip_prefix("1x16 | "))
            .collect();
        let again = fs::read_to_string(bench.place.path("b/logs/b1_s16.log")).unwrap();
        let squeezed = |text: &str| text.replace(['\n', '\r'], "");
        assert_eq!(squeezed(&shown), squeezed(&again));
    }
}

#[test]
fn the_analysis_of_the_sdk_is_in_the_bundle() {
    for (chip, word) in [
        ("inf2", "support_percentage"),
        ("inf1", "percent_supported"),
    ] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        bench.trace(&[&ONE[..], &["--analyze"]].concat()).succeeds();
        let analysis = bench.read_json("b/logs/b1_s16.analysis.json");
        assert!(analysis.to_string().contains(word), "{analysis}");
        let report = bench.place.run(&["report", "b"]).succeeds();
        assert!(
            report.stdout().contains("on the chip"),
            "{}",
            report.stdout()
        );
    }
}

#[test]
fn another_version_of_the_compiler_is_another_plan() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    bench.trace(&ONE).succeeds();
    let older = ["--version", "neuron-cc=1.23.0.0+0"];
    assert!(make_environment("inf1", &bench.place.path("older"), &older));
    bench
        .trace(&[&ONE[..], &["--sdk", "older"]].concat())
        .fails(2, &["another plan", "--force"]);
    let versions = &bench.read_json("b/manifest.json")["executor"];
    assert!(
        versions["neuron-cc"].as_str().unwrap().starts_with("1.24"),
        "{versions}"
    );
    let same = bench.trace(&ONE).succeeds().stdout();
    assert!(same.starts_with("up to date"), "{same}");
}

#[test]
fn a_newer_argument_is_passed_to_a_newer_compiler_only() {
    for (version, expected) in [("2.26.1.0", false), ("2.27.1.0", true)] {
        let version = format!("neuronx-cc={version}");
        let Some(bench) = Bench::with("inf2", &["--version", &version]) else {
            return;
        };
        bench.trace(&ONE).succeeds();
        let arguments = &bench.read_json("b/manifest.json")["plan"]["arguments"];
        let has = arguments.to_string().contains("implicit-integer-downcast");
        assert_eq!(has, expected, "{arguments}");
    }
}
