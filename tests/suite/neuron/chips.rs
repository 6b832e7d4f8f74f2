//! Every task, every chip, and models of real shape.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Bench, ONE};
use crate::support::{copy_folder, fixture, random_model_of, repository};

/// Three small buckets.
const GRID: [&str; 4] = ["--batch-size", "1,2,3", "--sequence-length", "16"];

/// A fixture for each task.
const TASKS: [&str; 5] = [
    "feature-extraction",
    "question-answering",
    "fill-mask",
    "text-classification",
    "token-classification",
];

fn every_task_on(chip: &str) {
    let Some(mut bench) = Bench::new(chip) else {
        return;
    };
    for task in TASKS {
        bench.set_model(fixture(task));
        let answer = bench
            .trace(&[&ONE[..], &["--force", "--format", "json"]].concat())
            .succeeds()
            .json();
        assert_eq!(super::buckets(&answer), ["1x16"], "{task}");
        check_bundle(&bench, 1);
        let plan = &bench.read_json("b/manifest.json")["plan"];
        assert_eq!(plan["head"]["task"], task, "{plan}");
    }
    assert!(bench.work_folders().is_empty(), "work is left");
}

#[test]
fn all_five_tasks_on_inf1() {
    every_task_on("inf1");
}

#[test]
fn all_five_tasks_on_inf2() {
    every_task_on("inf2");
}

/// The published model where the machine has it, else one of its shape.
fn minilm(folder: &Path) {
    let demo = repository().join(".cache/demo-model");
    match demo.join("model.safetensors").exists() {
        true => copy_folder(&demo, folder),
        false => random_model_of("all-minilm-l6-v2", folder),
    }
}

fn real_shapes_on(chip: &str, options: &[&str]) {
    let Some(mut bench) = Bench::with(chip, options) else {
        return;
    };
    let qa = "bert-base-uncased-squad2";
    minilm(&bench.place.path("minilm"));
    random_model_of(qa, &bench.place.path("bert"));
    for (model, grid) in [
        ("minilm", &GRID[..]),
        // Each of its compilations handles 440 MB of weights: two buckets of it take as long as six of the other.
        ("bert", &["--batch-size", "1,2", "--sequence-length", "16"]),
    ] {
        bench.set_model(bench.place.path(model));
        let count = grid[1].split(',').count();
        let answer = bench
            .trace(&[grid, &["--force", "--format", "json"]].concat())
            .succeeds()
            .json();
        assert_eq!(super::buckets(&answer).len(), count, "{model}");
        check_bundle(&bench, count);
        fs::remove_dir_all(bench.place.path(model)).unwrap();
    }
}

#[test]
fn minilm_and_bert_base_on_inf1() {
    real_shapes_on("inf1", &[]);
}

#[test]
fn minilm_and_bert_base_on_inf2() {
    real_shapes_on("inf2", &[]);
}

#[test]
fn minilm_and_bert_base_on_trn1() {
    real_shapes_on("trn1", &["--profile", &profile("trn1")]);
}

#[test]
fn minilm_and_bert_base_on_trn2() {
    real_shapes_on("trn2", &["--profile", &profile("trn2")]);
}

fn profile(chip: &str) -> String {
    let path = repository().join("profiles").join(format!("{chip}.yaml"));
    path.display().to_string()
}

/// The bundle `b` has an artifact and a log for each bucket, and its coverage is that of the graphs.
fn check_bundle(bench: &Bench, count: usize) {
    let manifest = bench.read_json("b/manifest.json");
    assert_eq!(manifest["plan"]["chip"], json!(bench.chip));
    let artifacts = manifest["artifacts"].as_array().unwrap();
    assert_eq!(artifacts.len(), count);
    let coverage = bench.read_json("b/coverage.json");
    for (artifact, covered) in artifacts
        .iter()
        .zip(coverage["buckets"].as_array().unwrap())
    {
        let file = |name: &str| bench.place.path("b").join(artifact[name].as_str().unwrap());
        assert!(fs::metadata(file("file")).unwrap().len() > 1024);
        let log = fs::read_to_string(file("log")).unwrap();
        assert!(log.contains("Compiler status PASS"), "{log}");
        assert_eq!(covered["bucket"], artifact["bucket"]);
        check_coverage(bench, covered, &file("graph"));
    }
    let report = bench.place.run(&["report", "b"]).succeeds().stdout();
    let expected = match bench.chip.as_str() {
        "inf1" => "embedding",
        _ => "100.00 %",
    };
    assert!(report.contains(expected), "{report}");
}

/// What coverage says of a bucket is what its graph holds; embeddings are on the host of inf1 only.
fn check_coverage(bench: &Bench, covered: &Value, graph: &Path) {
    let census = neuronc::coverage::census::count(graph).unwrap();
    let total: usize = census.iter().map(|entry| entry.count).sum();
    let sum = |side: &str| -> u64 {
        let entries = covered[side].as_array().unwrap().iter();
        entries.map(|entry| entry["count"].as_u64().unwrap()).sum()
    };
    let (on_chip, on_host) = (sum("on_chip"), sum("on_host"));
    assert_eq!(on_chip + on_host, total as u64, "{covered}");
    let count_of = |side: &str, operator: &str| {
        let entries = covered[side].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["operator"] == operator)
            .map(|entry| entry["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    for entry in &census {
        let found = count_of("on_chip", &entry.operator) + count_of("on_host", &entry.operator);
        assert_eq!(found, entry.count as u64, "{}: {covered}", entry.operator);
    }
    let is_inf1 = bench.chip == "inf1";
    let basis = if is_inf1 { "log" } else { "all-or-nothing" };
    assert_eq!(covered["basis"], basis);
    assert_eq!(count_of("on_host", "aten::embedding") > 0, is_inf1);
    assert_eq!(on_host > 0, is_inf1);
    assert!(on_chip > on_host, "{covered}");
}
