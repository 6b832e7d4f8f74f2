//! `neuronc trace` and `neuronc report`, run as a user runs them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use crate::hub_server::{Fault, HubServer};
use crate::support::{Workplace, copy_of, fixture, random_model_of, repository};

const SMALL: [&str; 4] = ["--batch-size", "1,2", "--sequence-length", "16,32"];

#[test]
fn every_fixture_is_traced_and_verified() {
    let place = Workplace::new();
    for entry in fs::read_dir(fixture("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let bundle = place.traced(&fixture(&name), &name, &SMALL);
        place
            .run(&["verify", &bundle.display().to_string()])
            .succeeds();
    }
}

#[test]
fn casts_stay_within_their_tolerance() {
    let place = Workplace::new();
    for mode in ["matmult", "all"] {
        for kind in ["bf16", "fp16"] {
            let bundle = format!("{mode}-{kind}");
            let casts = ["--auto-cast", mode, "--auto-cast-type", kind];
            place.traced(
                &fixture("feature-extraction"),
                &bundle,
                &[&SMALL[..], &casts].concat(),
            );
            place.run(&["verify", &bundle]).succeeds();
        }
    }
}

#[test]
fn tracing_the_same_again_does_nothing() {
    let place = Workplace::new();
    let model = fixture("question-answering");
    let bundle = place.traced(&model, "b", &SMALL);
    let written = fs::metadata(bundle.join("manifest.json")).unwrap();
    let model = model.display().to_string();
    let args = [&["trace", &model, "-o", "b"], &SMALL[..]].concat();
    let again = place.run(&args).succeeds();
    assert!(
        again.stdout().starts_with("up to date"),
        "{}",
        again.stdout()
    );
    let now = fs::metadata(bundle.join("manifest.json")).unwrap();
    assert_eq!(
        (now.ino(), now.mtime_nsec()),
        (written.ino(), written.mtime_nsec())
    );
}

#[test]
fn a_bundle_of_another_plan_is_kept_unless_forced() {
    let place = Workplace::new();
    let model = fixture("question-answering").display().to_string();
    place.traced(&fixture("question-answering"), "b", &SMALL);
    let other = [
        "trace",
        &model,
        "-o",
        "b",
        "--batch-size",
        "3",
        "--sequence-length",
        "16",
    ];
    place.run(&other).fails(2, &["another plan", "--force"]);
    place.run(&[&other[..], &["--force"]].concat()).succeeds();
    place.run(&["verify", "b"]).succeeds();
}

#[test]
fn the_weights_are_in_a_bundle_once() {
    let place = Workplace::new();
    random_model_of("all-minilm-l6-v2", &place.path("model"));
    let grid = ["--batch-size", "1,4,8", "--sequence-length", "32,128,256"];
    let bundle = place.traced(&place.path("model"), "b", &grid);
    let weights = fs::metadata(bundle.join("weights.safetensors"))
        .unwrap()
        .len();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    let files = manifest["files"].as_object().unwrap().values();
    let all: u64 = files.map(|file| file["bytes"].as_u64().unwrap()).sum();
    assert_eq!(manifest["artifacts"].as_array().unwrap().len(), 9);
    assert!(
        all <= weights + weights / 50,
        "{all} bytes around {weights} bytes of weights"
    );
}

#[test]
fn the_plan_is_printed_without_fetching_weights() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("feature-extraction"), "org/model");
    place.set("HF_ENDPOINT", &server.endpoint());
    let text = place
        .run(&["trace", "org/model", "--dry-run"])
        .succeeds()
        .stdout();
    assert!(text.starts_with("would trace model"), "{text}");
    let json = place
        .run(&["trace", "org/model", "--dry-run", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(json["plan"]["model"]["commit"], server.commit());
    assert_eq!(json["plan"]["max_tokens"], 48);
    assert!(server.requests_for("model.safetensors").is_empty());
    assert!(server.requests_for("tokenizer.json").is_empty());
    assert!(!place.path("model-cpu").exists());
}

#[test]
fn a_hub_model_is_traced_and_then_needs_no_hub() {
    let mut place = Workplace::new();
    let server = HubServer::start(&fixture("text-classification"), "org/model");
    place.set("HF_ENDPOINT", &server.endpoint());
    place
        .run(&[&["trace", "org/model"], &SMALL[..]].concat())
        .succeeds();
    drop(server);
    let again = [
        &["trace", "org/model", "--offline", "-o", "again"],
        &SMALL[..],
    ]
    .concat();
    place.run(&again).succeeds();
    place.set("HF_HUB_OFFLINE", "1");
    let same = place
        .run(&[&["trace", "org/model"], &SMALL[..]].concat())
        .succeeds();
    assert!(same.stdout().starts_with("up to date"), "{}", same.stdout());
}

#[test]
fn every_recipe_runs_with_random_weights_of_its_shape() {
    for name in neuronc::recipe::names() {
        let mut place = Workplace::new();
        let recipe = neuronc::recipe::embedded(name).unwrap().unwrap();
        random_model_of(name, &place.path("model"));
        let server = HubServer::start(&place.path("model"), &recipe.model);
        place.set("HF_ENDPOINT", &server.endpoint());
        let shapes = [
            "--batch-size",
            "1",
            "--sequence-length",
            "32",
            "--revision",
            "main",
        ];
        place
            .run(&[&["trace", name, "-o", "b"], &shapes[..]].concat())
            .succeeds();
        place.run(&["verify", "b"]).succeeds();
    }
}

#[test]
fn a_chip_is_added_with_a_yaml_file_alone() {
    let place = Workplace::new();
    let cpu = fs::read_to_string(repository().join("profiles/cpu.yaml")).unwrap();
    let mine = cpu
        .replace("name: cpu", "name: my-chip")
        .replace("attention: fused", "attention: explicit");
    fs::write(place.path("my-chip.yaml"), mine).unwrap();
    place.traced(
        &fixture("fill-mask"),
        "b",
        &[&SMALL[..], &["--profile", "my-chip.yaml"]].concat(),
    );
    place.run(&["verify", "b"]).succeeds();
    let report = place
        .run(&["report", "b", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(report["sources"][0]["chip"], "my-chip");
    let operators = report["subjects"][0]["on_chip"].to_string();
    assert!(
        operators.contains("aten::softmax") && !operators.contains("scaled_dot"),
        "{operators}"
    );
}

#[test]
fn the_report_counts_what_the_graph_holds() {
    let place = Workplace::new();
    place.traced(&fixture("feature-extraction"), "b", &SMALL);
    let report = place
        .run(&["report", "b", "--format", "json", "--min-coverage", "100"])
        .succeeds()
        .json();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["total"]["percent"], 100.0);
    let linear = report["subjects"][0]["on_chip"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["operator"] == "aten::linear");
    // Two layers of six linear layers each.
    assert_eq!(linear.unwrap()["count"], 12);
}

#[test]
fn neuron_chips_need_an_sdk_that_is_not_here() {
    let place = Workplace::new();
    let model = fixture("fill-mask").display().to_string();
    for (chip, looked_for) in [
        ("inf1", "torch_neuron"),
        ("inf2", "torch_neuronx"),
        ("trn2", "torch_neuronx"),
    ] {
        place
            .run(&["trace", &model, "--chip", chip])
            .fails(4, &["SDK", looked_for, "/opt/aws_neuron", "--chip cpu"]);
        place
            .run(&["trace", &model, "--chip", chip, "--dry-run"])
            .succeeds();
    }
}

#[test]
fn a_killed_run_leaves_nothing_that_looks_like_a_bundle() {
    let place = Workplace::new();
    random_model_of("all-minilm-l6-v2", &place.path("model"));
    let args = [&["trace", "model", "-o", "out/b"], &SMALL[..]].concat();
    let mut child = place.command(&args).spawn().unwrap();
    let draft = || fs::read_dir(place.path("out")).map_or(0, Iterator::count);
    wait_until(|| draft() > 0);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!place.path("out/b").exists());
    place.run(&args).succeeds();
    assert_eq!(draft(), 1, "the draft of the killed run is still there");
}

#[test]
fn an_interrupted_run_cleans_up_and_says_so() {
    let place = Workplace::new();
    random_model_of("all-minilm-l6-v2", &place.path("model"));
    let args = [&["trace", "model", "-o", "out/b"], &SMALL[..]].concat();
    let mut child = place.command(&args).spawn().unwrap();
    wait_until(|| fs::read_dir(place.path("out")).is_ok_and(|mut folder| folder.next().is_some()));
    let pid = i32::try_from(child.id()).unwrap();
    std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 0);
}

fn wait_until(condition: impl Fn() -> bool) {
    let ends = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < ends, "it did not happen within a minute");
        std::thread::yield_now();
    }
}

#[test]
fn a_changed_model_changes_the_plan() {
    let place = Workplace::new();
    let model = copy_of("no-prefix", &place.path("model"));
    place.traced(&model, "b", &SMALL);
    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let args = [&["trace", "model", "-o", "b"], &SMALL[..]].concat();
    place.run(&args).fails(2, &["another plan"]);
}

#[test]
fn the_program_itself_does_not_load_libtorch() {
    let programs = [env!("CARGO_BIN_EXE_neuronc").to_owned(), release_program()];
    for program in programs
        .iter()
        .filter(|program| std::path::Path::new(program).exists())
    {
        let output = std::process::Command::new("readelf")
            .args(["-d", program])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("libc.so"),
            "readelf said nothing of {program}"
        );
        assert!(!text.contains("torch"), "{program} needs libtorch:\n{text}");
    }
}

/// The release build beside this one, which `make demo` makes.
fn release_program() -> String {
    env!("CARGO_BIN_EXE_neuronc").replace("/debug/", "/release/")
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
