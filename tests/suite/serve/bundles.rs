//! What `serve` refuses to start with, and how it says so.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::serve::wait_until;
use crate::support::{Workplace, edit_json, fixture};

/// `serve` with these arguments ends with that exit code and names all `parts`.
#[track_caller]
fn check_refused(place: &Workplace, args: &[&str], code: i32, parts: &[&str]) {
    let mut child = place
        .command(&[&["serve"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A server that starts all the same would never end.
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_until("serve ends", || child.try_wait().unwrap());
    }));
    let _ = child.kill();
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(ended.is_ok(), "serve {args:?} has started:\n{stderr}");
    assert_eq!(status.code(), Some(code), "serve {args:?}:\n{stderr}");
    assert_eq!(stdout, b"", "serve {args:?} says that it serves");
    for part in parts {
        assert!(
            stderr.contains(part),
            "serve {args:?}: `{part}` is not in:\n{stderr}"
        );
    }
}

/// A bundle to which `change` was done is refused.
#[track_caller]
fn check_changed(code: i32, parts: &[&str], change: impl FnOnce(&Path)) {
    let place = Workplace::new();
    let bundle = traced(&place);
    change(&bundle);
    check_refused(&place, &["bundle", "--port", "0"], code, parts);
}

fn traced(place: &Workplace) -> std::path::PathBuf {
    let shapes = ["--batch-size", "1", "--sequence-length", "16"];
    place.traced(&fixture("feature-extraction"), "bundle", &shapes)
}

#[test]
fn a_port_that_is_in_use() {
    let place = Workplace::new();
    traced(&place);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let parts = [
        &*format!("cannot listen on {address}"),
        "in use",
        "`--port`",
    ];
    check_refused(&place, &["bundle", "--port", &port], 2, &parts);
    let both = ["--port", "--listen-per-core"];
    let twice = [
        &["bundle", "--host", "localhost"][..],
        &[both[0], "8123", both[1], "8123"],
    ];
    let parts = [
        "port 8123 is asked for twice",
        "`--port` and by `--listen-per-core`",
    ];
    check_refused(&place, &twice.concat(), 2, &parts);
}

#[test]
fn arguments_that_mean_nothing() {
    let place = Workplace::new();
    traced(&place);
    check_refused(&place, &["bundle", "--cores", "0"], 2, &["--cores"]);
    check_refused(&place, &["bundle", "--port", "65536"], 2, &["--port"]);
    check_refused(&place, &["bundle", "--host", "example.org"], 2, &["--host"]);
}

#[test]
fn a_name_that_nobody_could_ask_for() {
    let place = Workplace::new();
    traced(&place);
    for name in ["a/b", "a b", "\u{fc}", ".."] {
        let parts = [
            &*format!("cannot be called `{name}`"),
            "letters, digits",
            "--model NAME=",
        ];
        let model = format!("{name}=bundle");
        check_refused(&place, &["--model", &model], 2, &parts);
    }
}

#[test]
fn a_folder_that_is_no_bundle() {
    let place = Workplace::new();
    check_refused(
        &place,
        &["nowhere"],
        2,
        &[
            "`nowhere` is not a bundle",
            "no such folder",
            "neuronc trace",
        ],
    );
    let model = fixture("feature-extraction").display().to_string();
    check_refused(&place, &[&model], 2, &["is not a bundle", "manifest.json"]);
    fs::create_dir(place.path("other")).unwrap();
    fs::write(
        place.path("other/manifest.json"),
        "{\"name\": \"an extension\"}",
    )
    .unwrap();
    check_refused(&place, &["other"], 2, &["not a bundle of neuronc"]);
}

#[test]
fn a_damaged_bundle() {
    let damaged = |file: &'static str, change: fn(&mut Vec<u8>), part: &str| {
        check_changed(2, &["is damaged", file, part, "copy it again"], |bundle| {
            let path = bundle.join(file);
            let mut bytes = fs::read(&path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        });
    };
    damaged(
        "weights.safetensors",
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        "sha256",
    );
    damaged("tokenizer.json", |bytes| bytes[0] ^= 1, "sha256");
    check_changed(
        2,
        &["is damaged", "graphs/", "bytes instead of"],
        |bundle| {
            let graph = fs::read_dir(bundle.join("graphs"))
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path();
            let bytes = fs::read(&graph).unwrap();
            fs::write(graph, &bytes[..bytes.len() / 2]).unwrap();
        },
    );
    check_changed(
        2,
        &["is damaged", "weights.safetensors", "No such file"],
        |bundle| {
            fs::remove_file(bundle.join("weights.safetensors")).unwrap();
        },
    );
    check_changed(2, &["manifest", "not JSON"], |bundle| {
        let bytes = fs::read(bundle.join("manifest.json")).unwrap();
        fs::write(bundle.join("manifest.json"), &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn a_bundle_of_another_format_version() {
    check_changed(
        2,
        &["format version 99", "trace the model again"],
        |bundle| {
            edit_json(&bundle.join("manifest.json"), |manifest| {
                manifest["format_version"] = json!(99)
            });
        },
    );
}

#[test]
fn a_bundle_of_a_chip_that_is_not_here() {
    for (chip, compiler) in [("inf1", "torch-neuron"), ("trn2", "torch-neuronx")] {
        check_changed(4, &[chip, "no Neuron device", "--chip cpu"], |bundle| {
            edit_json(&bundle.join("manifest.json"), |manifest| {
                manifest["plan"]["chip"] = json!(chip);
                manifest["plan"]["compiler"] = json!(compiler);
                manifest["profile"] = json!(neuronc::profile::load(chip).unwrap());
            });
        });
    }
}
