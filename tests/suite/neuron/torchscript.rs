//! `--tracer torchscript`: files that somebody else has traced, on cpu and on the chips.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::server::ChipServer;
use super::transformers::{DISTILBERT, python, with_distilbert};
use super::{Bench, ONE};
use crate::support::{copy_folder, fixture};

/// Traces the model in the current folder as transformers' documentation says.
const MAKE: &str = r#"
import torch, transformers
model = transformers.AutoModelForQuestionAnswering.from_pretrained("MODEL", torchscript=True).eval()
ids = torch.arange(16).reshape(1, 16)
torch.jit.trace(model, (ids, torch.ones_like(ids)), strict=False).save("MODEL/model.pt")
"#;

/// A bench whose model is a TorchScript file that the environment's transformers and torch made.
fn with_file(chip: &str) -> Option<Bench> {
    let mut bench = with_distilbert(chip)?;
    python(&bench, &["-c", &MAKE.replace("MODEL", DISTILBERT)]);
    let file = bench.place.path(DISTILBERT).join("model.pt");
    bench.set_model(file);
    Some(bench)
}

#[test]
fn a_file_is_traced_verified_served_and_estimated_on_cpu() {
    let Some(mut bench) = with_file("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    bench
        .trace(&[&ONE[..], &["--tracer", "torchscript"]].concat())
        .succeeds();
    let tracer = &bench.read_json("b/manifest.json")["plan"]["tracer"];
    assert_eq!(tracer["tracer"], "torchscript", "{tracer}");
    bench.place.run(&["verify", "b"]).succeeds();
    let inputs = json!({"question": "w7 w8", "context": "w9 w10 w11 w12"});
    let answer = ChipServer::start(&bench, "serve.log", &[]).answer(&inputs);
    // The same model by way of transformers.
    bench.set_model(bench.place.path(DISTILBERT));
    bench
        .trace(&[&ONE[..], &["--tracer", "transformers", "--force"]].concat())
        .succeeds();
    let expected = ChipServer::start(&bench, "serve.log", &[]).answer(&inputs);
    assert_eq!(answer["answer"], expected["answer"]);
    let off = answer["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap();
    assert!(off.abs() < 1e-5, "{answer} and not {expected}");
}

#[test]
fn a_file_is_compiled_for_the_chips() {
    for chip in ["inf2", "inf1"] {
        let Some(bench) = with_file(chip) else {
            return;
        };
        // The end of the file's name is enough.
        bench.trace(&ONE).succeeds();
        let manifest = bench.read_json("b/manifest.json");
        assert_eq!(manifest["plan"]["tracer"]["file"], "model.pt", "{manifest}");
        let log = fs::read_to_string(bench.place.path("b/logs/b1_s16.log")).unwrap();
        assert!(log.contains("Compiler status PASS"), "{log}");
        for source in ["b", "b/graphs/b1_s16.pt"] {
            let words = ["report", source, "--for", chip, "--format", "json"];
            let report = bench.place.run(&words).succeeds().json().to_string();
            assert!(report.contains("aten::embedding"), "{source}: {report}");
        }
    }
}

/// The fixture as neuronc itself exports it: weights as constants, and an operator that torch 1.13 does
/// not have.
fn exported(bench: &Bench) -> PathBuf {
    let folder = bench.place.path("exported");
    copy_folder(&fixture("feature-extraction"), &folder);
    let more = [&ONE[..], &["--self-contained"]].concat();
    let bundle = bench.place.traced(&folder, "host", &more);
    fs::copy(
        bundle.join("self-contained/b1_s16.pt"),
        folder.join("exported.pt"),
    )
    .unwrap();
    folder.join("exported.pt")
}

const THREE_INPUTS: [&str; 2] = ["--inputs", "input_ids,attention_mask,token_type_ids"];

#[test]
fn weights_that_are_constants_of_a_file_reach_the_chip() {
    let Some(mut bench) = Bench::new("inf2") else {
        return;
    };
    let file = exported(&bench);
    bench.set_model(file);
    let words = [&ONE[..], &THREE_INPUTS[..]].concat();
    bench.trace(&words).succeeds();
    bench.chip = "cpu".to_owned();
    bench.trace(&[&words[..], &["--force"]].concat()).succeeds();
    bench.place.run(&["verify", "b"]).succeeds();
    let graph = fs::metadata(bench.place.path("b/graphs/b1_s16.pt")).unwrap();
    let weights = fs::metadata(bench.place.path("b/weights.safetensors")).unwrap();
    assert!(graph.len() < weights.len(), "the weights are in the graph");
}

#[test]
fn a_file_of_a_newer_torch_is_called_that() {
    let Some(mut bench) = Bench::new("inf1") else {
        return;
    };
    let file = exported(&bench);
    bench.set_model(file);
    bench.trace(&[&ONE[..], &THREE_INPUTS[..]].concat()).fails(
        2,
        &[
            "exported.pt` cannot be loaded as TorchScript",
            "aten::scaled_dot_product_attention",
            "this is PyTorch 1.13",
        ],
    );
}

#[test]
fn inputs_that_the_file_does_not_take_are_refused() {
    let Some(mut bench) = with_file("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    let takes = ["takes other inputs", "`input_ids`, `attention_mask`"];
    for inputs in [
        "input_ids",
        "attention_mask,input_ids",
        "input_ids,attention_mask,token_type_ids",
    ] {
        bench
            .trace(&[&ONE[..], &["--inputs", inputs]].concat())
            .fails(2, &takes);
    }
    bench
        .trace(&[&ONE[..], &["--inputs", "input_ids,mask"]].concat())
        .fails(2, &["input `mask` is unknown"]);
}

#[test]
fn what_is_no_torchscript_is_refused() {
    let Some(mut bench) = with_file("inf2") else {
        return;
    };
    bench.chip = "cpu".to_owned();
    let model = bench.place.path(DISTILBERT);
    let refused = |bench: &Bench, more: &[&str], parts: &[&str]| {
        bench.trace(&[&ONE[..], more].concat()).fails(2, parts);
        assert!(!bench.place.path("b").exists());
    };
    for tracer in ["native", "transformers"] {
        refused(&bench, &["--tracer", tracer], &["is a TorchScript file"]);
    }
    bench.set_model(model.clone());
    let torchscript = ["--tracer", "torchscript"];
    refused(
        &bench,
        &torchscript,
        &["is not a TorchScript file", "`.pt` file"],
    );
    let inputs = ["--inputs", "input_ids"];
    refused(&bench, &inputs, &["`--inputs` is for TorchScript files"]);
    for (name, content) in [("empty.pt", &b""[..]), ("text.pt", b"no archive at all\n")] {
        bench.set_model(written(&model, name, content));
        refused(&bench, &[], &[name, "cannot be loaded as TorchScript"]);
    }
    // A checkpoint has the same ending; its pickle is not run.
    let save = format!(
        "import os, torch\nclass Evil:\n  def __reduce__(self): return os.mkdir, ('mark',)\n\
         torch.save({{'a': Evil()}}, '{DISTILBERT}/state.pt')"
    );
    python(&bench, &["-c", &save]);
    bench.set_model(model.join("state.pt"));
    refused(
        &bench,
        &[],
        &["state.pt", "cannot be loaded as TorchScript"],
    );
    assert!(
        !bench.place.path("mark").exists(),
        "code of the file was run"
    );
    // Nothing beside it says what it is.
    let lonely = bench.place.path("lonely");
    fs::create_dir(&lonely).unwrap();
    fs::copy(model.join("model.pt"), lonely.join("model.pt")).unwrap();
    bench.set_model(lonely.join("model.pt"));
    refused(&bench, &[], &["config.json"]);
}

fn written(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, content).unwrap();
    file
}
