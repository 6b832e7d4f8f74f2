//! What is compiled stays compiled: after a failure, and until the bundle is there.

use std::fs;

use serde_json::json;

use super::{Bench, THREE, buckets};

const THREE_AS_JSON: [&str; 6] = [
    "--batch-size",
    "1,2,3",
    "--sequence-length",
    "16",
    "--format",
    "json",
];

/// A bench on which the bucket of two rows failed and the others were compiled.
fn after_a_failure() -> Option<Bench> {
    let bench = Bench::new("inf2")?;
    let when = json!({"fault": "internal-error", "when": {"batch": 2}});
    bench.set_faults(&json!({"compile": [when]}));
    bench.trace(&THREE).fails(
        5,
        &[
            "bucket 2x16",
            "1x16 and 3x16 are compiled and kept",
            "goes on",
        ],
    );
    assert!(!bench.place.path("b").exists());
    bench.set_faults(&json!({}));
    Some(bench)
}

#[test]
fn only_the_bucket_that_failed_is_compiled_again() {
    let Some(bench) = after_a_failure() else {
        return;
    };
    let answer = bench.trace(&THREE_AS_JSON).succeeds().json();
    assert_eq!(buckets(&answer), ["2x16"]);
    assert!(bench.work_folders().is_empty());
    let artifacts = &bench.read_json("b/manifest.json")["artifacts"];
    assert_eq!(artifacts.as_array().unwrap().len(), 3);
    let again = bench.trace(&THREE).succeeds().stdout();
    assert!(again.starts_with("up to date"), "{again}");
    let forced = bench
        .trace(&[&THREE_AS_JSON[..], &["--force"]].concat())
        .succeeds()
        .json();
    assert_eq!(buckets(&forced), ["1x16", "2x16", "3x16"]);
}

#[test]
fn an_artifact_that_was_changed_is_compiled_again() {
    let Some(bench) = after_a_failure() else {
        return;
    };
    let artifact = bench.work().join("b3_s16/artifact.pt");
    let mut bytes = fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let answer = bench.trace(&THREE_AS_JSON).succeeds().json();
    assert_eq!(buckets(&answer), ["2x16", "3x16"]);
}

#[test]
fn force_goes_on_from_there_too() {
    let Some(bench) = after_a_failure() else {
        return;
    };
    let answer = bench
        .trace(&[&THREE_AS_JSON[..], &["--force"]].concat())
        .succeeds()
        .json();
    assert_eq!(buckets(&answer), ["2x16"]);
}

#[test]
fn every_bucket_that_failed_is_named() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    bench.set_faults(&json!({"compile": "internal-error"}));
    let stderr = bench.trace(&THREE).fails(5, &["also failed"]).stderr();
    for bucket in ["1x16", "2x16", "3x16"] {
        assert!(stderr.contains(bucket), "{bucket} is not in:\n{stderr}");
    }
}
