//! Input that cannot be used: each time a clear error that names the thing and the remedy, and the
//! documented exit code.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::hub_server::{Fault, HubServer};
use crate::support::{Workplace, copy_of, edit_json, fixture};

const SMALL: [&str; 4] = ["--batch-size", "1", "--sequence-length", "16"];

/// Traces a copy of a fixture after `change`.
fn traced_after(name: &str, change: impl FnOnce(&Path)) -> crate::support::Run {
    let place = Workplace::new();
    let model = copy_of(name, &place.path("model"));
    change(&model);
    let run = place.run(&[&["trace", "./model", "-o", "out/b"], &SMALL[..]].concat());
    let left = fs::read_dir(place.path("out")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something was left behind");
    run
}

#[test]
fn options_that_mean_nothing() {
    let place = Workplace::new();
    let model = fixture("fill-mask").display().to_string();
    let trace = |more: &[&str]| place.run(&[&["trace", &model], more].concat());
    trace(&["--chip", "Inf2"]).fails(
        2,
        &["chip `Inf2` is unknown", "did you mean `inf2`?", "`trn1`"],
    );
    trace(&["--task", "fill-masks"])
        .fails(2, &["`fill-masks` is unknown", "did you mean `fill-mask`?"]);
    trace(&["--auto-cast", "matmul"]).fails(2, &["did you mean `matmult`?"]);
    trace(&["--sequence-length", "65"]).fails(2, &["--sequence-length 65", "at most 64 tokens"]);
    trace(&["--batch-size", "100000"]).fails(2, &["too large", "--batch-size"]);
    trace(&["--batch-size", "0"]).fails(2, &["at least 1 row"]);
    trace(&["--revision", "main"]).fails(2, &["--revision main", "conflict"]);
    place
        .run(&["trace", "all-minilm-l6-v3"])
        .fails(2, &["did you mean `all-minilm-l6-v2`?"]);
    place
        .run(&["trace", "./nowhere"])
        .fails(2, &["no folder `./nowhere`", "org/name"]);
}

#[test]
fn options_of_a_chip_for_a_bundle_that_runs_elsewhere() {
    let place = Workplace::new();
    place.traced(&fixture("fill-mask"), "b", &SMALL);
    let of_chip = |flag: &str| format!("`{flag}` is for a bundle that runs on a Neuron chip");
    for flag in ["--sdk", "--plugin"] {
        for command in ["serve", "verify"] {
            let run = place.run(&[command, "b", flag, "x"]);
            run.fails(2, &[&of_chip(flag), "libtorch on the processor"]);
        }
        let simulated = ["serve", "b", "--runtime", "simulated", flag, "x"];
        let named = [&simulated[..], &["--timings", "inf2/bert-base-uncased"]].concat();
        place
            .run(&named)
            .fails(2, &[&of_chip(flag), "a simulated device"]);
    }
}

#[test]
fn a_model_that_neuronc_cannot_trace() {
    traced_after("fill-mask", |model| {
        edit_json(&model.join("config.json"), |config| {
            config["model_type"] = json!("mamba")
        });
    })
    .fails(
        4,
        &[
            "`mamba` is not a family of neuronc",
            "no Python with `torch` and `transformers`",
            "--sdk PATH",
        ],
    );
    traced_after("fill-mask", |model| {
        edit_json(&model.join("config.json"), |config| {
            config["hidden_act"] = json!("silu")
        });
    })
    .fails(2, &["`hidden_act` is \"silu\"", "gelu"]);
    traced_after("fill-mask", |model| {
        edit_json(&model.join("config.json"), |config| {
            config["architectures"] = json!(["BertForX"])
        });
    })
    .fails(2, &["BertForX", "--task"]);
}

#[test]
fn weights_that_are_missing_damaged_or_of_another_model() {
    let weights = |model: &Path| model.join("model.safetensors");
    traced_after("fill-mask", |model| {
        fs::remove_file(weights(model)).unwrap()
    })
    .fails(2, &["no safetensors weights", "model.safetensors"]);
    traced_after("fill-mask", |model| {
        fs::rename(weights(model), model.join("pytorch_model.bin")).unwrap();
    })
    .fails(2, &["pickle", "refs/pr/"]);
    traced_after("fill-mask", |model| {
        let bytes = fs::read(weights(model)).unwrap();
        fs::write(weights(model), &bytes[..bytes.len() / 2]).unwrap();
    })
    .fails(
        2,
        &[
            "model.safetensors",
            "not a valid safetensors file",
            "cut off",
        ],
    );
    traced_after("fill-mask", |model| {
        edit_json(&model.join("config.json"), |config| {
            config["hidden_size"] = json!(64)
        });
    })
    .fails(
        2,
        &[
            "the weights do not match config.json",
            "[256, 32]",
            "[256, 64]",
        ],
    );
    traced_after("sharded", |model| {
        let shard = fs::read_dir(model)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let shard = shard
            .into_iter()
            .find(|path| path.display().to_string().contains("-of-"));
        fs::remove_file(shard.unwrap()).unwrap();
    })
    .fails(2, &["-of-", "index.json"]);
}

#[test]
fn tokenizers_that_are_missing_or_damaged() {
    traced_after("fill-mask", |model| {
        fs::remove_file(model.join("tokenizer.json")).unwrap()
    })
    .fails(2, &["tokenizer.json"]);
    traced_after("fill-mask", |model| {
        fs::write(model.join("tokenizer.json"), "{\"a\":").unwrap()
    })
    .fails(2, &["not a usable tokenizer", "tokenizer.json"]);
    traced_after("fill-mask", |model| {
        fs::write(model.join("config.json"), "{").unwrap()
    })
    .fails(2, &["config.json", "EOF"]);
}

#[test]
fn a_hub_that_refuses() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("fill-mask"), "org/model");
    place.set("HF_ENDPOINT", &server.endpoint());
    place
        .run(&["trace", "org/model", "--revision", "v9"])
        .fails(3, &["v9"]);
    place
        .run(&["trace", "org/other"])
        .fails(3, &["org/other", "HF_TOKEN"]);
    server.fail(Fault::status(401));
    place
        .run(&["trace", "org/model"])
        .fails(3, &["401", "HF_TOKEN"]);
    server.heal();
    server.fail(Fault::status(500));
    place.run(&["trace", "org/model"]).fails(3, &["500"]);
    place
        .run(&["trace", "org/model", "--offline"])
        .fails(3, &["not in the cache", "--offline"]);
    place.set("HF_ENDPOINT", "http://127.0.0.1:9");
    place
        .run(&["trace", "org/model"])
        .fails(3, &["127.0.0.1:9"]);
}

#[test]
fn a_connection_that_is_cut_is_resumed() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("fill-mask"), "org/model");
    place.set("HF_ENDPOINT", &server.endpoint());
    server.fail(Fault::cut_after(1000).on("model.safetensors").times(1));
    place
        .run(&[&["trace", "org/model"], &SMALL[..]].concat())
        .succeeds();
    let requests = server.requests_for("model.safetensors");
    let ranges: Vec<_> = requests
        .iter()
        .filter_map(|request| request.range.clone())
        .collect();
    assert!(
        ranges.iter().any(|range| range.starts_with("bytes=1000-")),
        "{ranges:?}"
    );
}

#[test]
fn places_that_cannot_be_written() {
    let place = Workplace::new();
    let model = fixture("fill-mask").display().to_string();
    fs::write(place.path("file"), "").unwrap();
    let into = |output: &str| place.run(&[&["trace", &model, "-o", output], &SMALL[..]].concat());
    into("file/b").fails(2, &["file"]);
    into("file").fails(2, &["exists and is not a bundle"]);
    fs::create_dir(place.path("photos")).unwrap();
    fs::write(place.path("photos/cat.jpg"), "").unwrap();
    into("photos").fails(2, &["photos", "not a bundle"]);
    into("/proc/b").fails(2, &["/proc"]);
}

/// Runs neuronc with a tmpfs of `size` mounted at `full` in the workplace, in a mount namespace.
fn run_on_small_disk(place: &Workplace, size: &str, args: &[&str]) -> Option<std::process::Output> {
    fs::create_dir_all(place.path("full")).unwrap();
    let probe = Command::new("unshare").args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: this machine does not let `unshare -rm` make a mount namespace");
        return None;
    }
    let script = format!("mount -t tmpfs -o size={size} tmpfs full && exec \"$@\"");
    let program = place.command(args);
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", &script, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(place.path(""))
        .env("HOME", place.path(""));
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Some(command.output().unwrap())
}

#[test]
fn a_full_disk() {
    let place = Workplace::new();
    let model = fixture("fill-mask").display().to_string();
    for size in ["16k", "100k"] {
        let args = [&["trace", &model, "-o", "full/b"], &SMALL[..]].concat();
        let Some(output) = run_on_small_disk(&place, size, &args) else {
            return;
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{stderr}");
        assert!(
            stderr.contains("No space left") || stderr.contains("disk"),
            "{stderr}"
        );
    }
}

#[test]
fn a_full_disk_under_the_hub_cache() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("fill-mask"), "org/model");
    let cache = place.path("full/cache").display().to_string();
    place
        .set("HF_ENDPOINT", &server.endpoint())
        .set("HF_HUB_CACHE", &cache);
    let args = [&["trace", "org/model"], &SMALL[..]].concat();
    let Some(output) = run_on_small_disk(&place, "40k", &args) else {
        return;
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(
        stderr.contains("model.safetensors") || stderr.contains("cache"),
        "{stderr}"
    );
}

#[test]
fn bundles_that_are_damaged_or_foreign() {
    let place = Workplace::new();
    let bundle = place.traced(&fixture("fill-mask"), "b", &SMALL);
    let verify = || place.run(&["verify", "b"]);
    let manifest = bundle.join("manifest.json");
    let sound = fs::read(&manifest).unwrap();

    let tokenizer = bundle.join("tokenizer.json");
    let mut bytes = fs::read(&tokenizer).unwrap();
    bytes[100] ^= 1;
    fs::write(&tokenizer, &bytes).unwrap();
    verify().fails(2, &["damaged", "tokenizer.json", "sha256"]);
    fs::write(&tokenizer, &bytes[..50]).unwrap();
    place
        .run(&["report", "b"])
        .fails(2, &["damaged", "tokenizer.json", "50 bytes"]);
    fs::remove_file(&tokenizer).unwrap();
    verify().fails(2, &["damaged", "tokenizer.json"]);

    fs::write(&manifest, "{\"format\": \"something else\"}").unwrap();
    verify().fails(2, &["not a bundle of neuronc"]);
    fs::write(&manifest, &sound[..sound.len() / 2]).unwrap();
    verify().fails(2, &["manifest", "not JSON"]);
    fs::write(&manifest, &sound).unwrap();
    edit_json(&manifest, |manifest| manifest["format_version"] = json!(99));
    verify().fails(2, &["format version 99", "reads 3"]);
    fs::remove_file(&manifest).unwrap();
    verify().fails(2, &["no `manifest.json`", "neuronc trace"]);
    place
        .run(&["verify", "nowhere"])
        .fails(2, &["`nowhere` is not a bundle", "no such folder"]);
}

#[test]
fn a_bundle_of_another_chip() {
    let place = Workplace::new();
    let bundle = place.traced(&fixture("fill-mask"), "b", &SMALL);
    edit_json(&bundle.join("manifest.json"), |manifest| {
        manifest["plan"]["chip"] = json!("inf2");
        manifest["plan"]["compiler"] = json!("torch-neuronx");
        manifest["profile"] = json!(neuronc::profile::load("inf2").unwrap());
    });
    place
        .run(&["verify", "b"])
        .fails(4, &["chip `inf2`", "not here"]);
}
