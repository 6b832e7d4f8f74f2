//! `--tracer transformers`: models that neuronc has no family for, on cpu and on the chips.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::server::ChipServer;
use super::{Bench, ONE};
use crate::support::{copy_of, edit_json, repository};

pub(super) const DISTILBERT: &str = "distilbert-question-answering";

/// A bench whose model is a tiny DistilBERT that the environment's transformers made.
pub(super) fn with_distilbert(chip: &str) -> Option<Bench> {
    let mut bench = Bench::new(chip)?;
    let make = format!(
        "import make_models as m; m.MODELS = {{'{DISTILBERT}': m.MODELS['{DISTILBERT}']}}; m.main('.')"
    );
    python(&bench, &["-c", &make]);
    let model = bench.place.path(DISTILBERT);
    bench.set_model(model);
    Some(bench)
}

/// Runs the environment's interpreter beside the scripts of the executor's tests.
pub(super) fn python(bench: &Bench, arguments: &[&str]) {
    let output = Command::new(bench.place.path("sdk/bin/python3"))
        .arg("-B")
        .args(arguments)
        .current_dir(bench.place.path(""))
        .env("PYTHONPATH", repository().join("tests/sdk/executor"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
}

fn pickle(bench: &Bench, more: &[&str]) {
    let script = repository().join("tests/sdk/executor/pickle_model.py");
    let script = script.display().to_string();
    let model = bench.model.display().to_string();
    python(bench, &[&[script.as_str(), model.as_str()], more].concat());
}

#[test]
fn a_model_without_a_family_is_traced_verified_and_served_on_cpu() {
    let Some(mut bench) = with_distilbert("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    let stderr = bench.trace(&ONE).succeeds().stderr();
    assert!(
        stderr.contains("`distilbert` is not a family of neuronc"),
        "{stderr}"
    );
    bench.place.run(&["verify", "b"]).succeeds();
    let inputs = json!({"question": "w7 w8", "context": "w9 w10 w11 w12"});
    let answer = ChipServer::start(&bench, "serve.log", &[]).answer(&inputs);
    let span = answer["answer"].as_str().unwrap();
    assert!(
        "w9 w10 w11 w12".contains(span) && !span.is_empty(),
        "{answer}"
    );
    for chip in ["inf1", "inf2"] {
        let report = bench
            .place
            .run(&["report", "b", "--for", chip, "--format", "json"]);
        let report = report.succeeds().json().to_string();
        assert!(
            report.contains("aten::embedding") && report.contains(&format!("estimate for {chip}")),
            "{report}"
        );
    }
}

#[test]
fn a_model_without_a_family_is_compiled_for_the_chips() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = with_distilbert(chip) else {
            return;
        };
        bench.trace(&ONE).succeeds();
        let manifest = bench.read_json("b/manifest.json");
        assert_eq!(
            manifest["plan"]["tracer"]["tracer"], "transformers",
            "{manifest}"
        );
        let log = fs::read_to_string(bench.place.path("b/logs/b1_s16.log")).unwrap();
        assert!(log.contains("Compiler status PASS"), "{log}");
    }
}

#[test]
fn a_family_of_ours_answers_the_same_through_transformers() {
    let Some(mut bench) = Bench::new("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    let grid = ["--batch-size", "1", "--sequence-length", "48"];
    bench
        .trace(&[&grid[..], &["--tracer", "transformers"]].concat())
        .succeeds();
    let expected: Value =
        serde_json::from_slice(&fs::read(bench.model.join("expected.json")).unwrap()).unwrap();
    let case = &expected["cases"][0];
    let answer = ChipServer::start(&bench, "serve.log", &[]).answer(&case["rows"][0]["text"]);
    let vector = answer.as_array().unwrap();
    assert_eq!(
        vector.len() as u64,
        case["output"]["shape"][1].as_u64().unwrap()
    );
    for (found, wanted) in vector
        .iter()
        .zip(case["output"]["values"].as_array().unwrap())
    {
        let difference = found.as_f64().unwrap() - wanted.as_f64().unwrap();
        assert!(difference.abs() < 1e-4, "{found} and not {wanted}");
    }
}

#[test]
fn a_pickle_of_weights_is_read_and_a_pickle_with_code_is_not() {
    let Some(mut bench) = with_distilbert("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    pickle(&bench, &[]);
    assert!(!bench.model.join("model.safetensors").exists());
    bench.trace(&ONE).succeeds();
    bench.place.run(&["verify", "b"]).succeeds();
    let mark = bench.place.path("mark").display().to_string();
    pickle(&bench, &[&mark]);
    let refused = bench.trace(&[&ONE[..], &["--force"]].concat());
    refused.fails(2, &["pytorch_model.bin"]);
    assert!(
        !bench.place.path("mark").exists(),
        "code of the pickle was run"
    );
}

#[test]
fn remote_code_is_refused() {
    let Some(mut bench) = Bench::new("inf2") else {
        return;
    };
    let model = copy_of("feature-extraction", &bench.place.path("model"));
    edit_json(&model.join("config.json"), |config| {
        config["auto_map"] = json!({"AutoModel": "evil.EvilModel"});
    });
    fs::write(model.join("evil.py"), "import os\nos.mkdir('mark')\n").unwrap();
    bench.set_model(model);
    for chip in ["cpu", "inf2"] {
        bench.chip = chip.to_owned();
        bench
            .trace(&[&ONE[..], &["--tracer", "transformers"]].concat())
            .fails(2, &["auto_map", "remote code"]);
    }
}
