//! `neuronc place` and `neuronc chips` as programs.

use std::fs;

use neuronc::profile;
use serde_json::json;

use crate::placement::machines;
use crate::support::{Workplace, edit_json, fixture, repository};

/// A place with a traced bundle.
fn workplace() -> Workplace {
    let place = Workplace::new();
    let shapes = ["--batch-size", "1", "--sequence-length", "16"];
    place.traced(&fixture("feature-extraction"), "bundle", &shapes);
    place
}

#[test]
fn the_environment_of_a_container_is_honoured() {
    let mut place = workplace();
    let cores = |place: &Workplace, more: &[&str]| {
        let args = [
            "place",
            "bundle",
            "--instance",
            "inf2.24xlarge",
            "--format",
            "json",
        ];
        let json = place.run(&[&args, more].concat()).succeeds().json();
        let workers = json["workers"].as_array().unwrap().clone();
        workers
            .iter()
            .map(|worker| worker["cores"][0].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    place.set("NEURON_RT_NUM_CORES", "3");
    assert_eq!(cores(&place, &[]), [0, 1, 2]);
    place.set("NEURON_RT_VISIBLE_CORES", "2,5-7");
    assert_eq!(cores(&place, &[]), [2, 5, 6, 7]);
    assert_eq!(cores(&place, &["--cores", "2"]), [2, 5]);
    let args = ["place", "bundle", "--instance", "inf2.24xlarge"];
    place.set("NEURONCORE_GROUP_SIZES", "4");
    let note = "NEURONCORE_GROUP_SIZES is of an older runtime";
    assert!(place.run(&args).succeeds().stderr().contains(note));
    // On processors these variables mean nothing.
    place.run(&["place", "bundle", "--cores", "1"]).succeeds();
}

#[test]
fn a_model_in_a_pipeline_takes_adjacent_cores() {
    let place = workplace();
    edit_json(&place.path("bundle").join("manifest.json"), |manifest| {
        manifest["plan"]["chip"] = json!("inf1");
        manifest["plan"]["arguments"] = json!({"neuroncore-pipeline-cores": "3"});
    });
    let args = [
        "place",
        "bundle",
        "--instance",
        "inf1.xlarge",
        "--format",
        "json",
    ];
    let json = place.run(&args).succeeds().json();
    assert_eq!(json["workers"][0]["cores"], json!([0, 1, 2]));
    assert_eq!(
        (&json["workers"][0]["devices"], &json["idle"]),
        (&json!([0]), &json!([3]))
    );
}

#[test]
fn cores_are_counted_in_the_size_that_a_bundle_is_compiled_for() {
    let place = workplace();
    edit_json(&place.path("bundle").join("manifest.json"), |manifest| {
        manifest["plan"]["chip"] = json!("trn2");
        manifest["plan"]["arguments"] = json!({"lnc": "1"});
    });
    let args = ["place", "bundle", "--instance", "trn2.48xlarge"];
    let json = place.run(&[&args[..], &["--format", "json"]].concat());
    assert_eq!(json.succeeds().json()["machine"]["cores"], 128);
}

#[test]
fn tables_fit_a_terminal() {
    let place = workplace();
    let mut outputs = vec![place.run(&["chips"])];
    for (_, machine) in machines() {
        let two = ["--model", "search=bundle", "--model", "rank=bundle"];
        let args = ["place", "--instance", &machine.name];
        outputs.push(place.run(&[&args[..], &two].concat()));
    }
    for run in outputs {
        for line in run.succeeds().stdout().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn the_chips_are_those_of_the_profiles() {
    let place = Workplace::new();
    let json = place.run(&["chips", "--format", "json"]).succeeds().json();
    let shown: Vec<&str> = json["chips"]
        .as_array()
        .unwrap()
        .iter()
        .map(|chip| chip["name"].as_str().unwrap())
        .collect();
    assert_eq!(shown, profile::names());
    let text = place.run(&["chips"]).succeeds().stdout();
    for (profile, machine) in machines() {
        let row = profile
            .instances
            .iter()
            .find(|row| row.name == machine.name)
            .unwrap();
        let line = text
            .lines()
            .find(|line| line.contains(&format!(" {} ", row.name)))
            .unwrap();
        let cells: Vec<&str> = line.split_whitespace().collect();
        let known = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
        assert_eq!(
            cells[2..5],
            [row.devices, row.cores, row.device_memory_gib].map(|n| n.to_string())
        );
        assert_eq!(cells[6..], [known(row.vcpus), known(row.host_memory_gib)]);
    }
    place
        .run(&["chips", "inf3"])
        .fails(2, &["chip `inf3` is unknown", "did you mean"]);
    let own = repository().join("profiles/inf2.yaml");
    let own = fs::read_to_string(own)
        .unwrap()
        .replace("name: inf2\n", "name: mine\n");
    fs::write(place.path("mine.yaml"), own).unwrap();
    let text = place
        .run(&["chips", "--profile", "mine.yaml"])
        .succeeds()
        .stdout();
    assert!(text.starts_with("mine: "), "{text}");
}
