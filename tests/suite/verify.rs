//! `neuronc verify` must see what it is there to see: each test breaks one thing in a bundle, seals
//! it again so that no hash gives it away, and wants a failure.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::support::{Workplace, fixture, seal_again};

/// A bundle whose task needs the mask and the token types.
fn bundle(place: &Workplace) -> std::path::PathBuf {
    let shapes = ["--batch-size", "1,4", "--sequence-length", "24,48"];
    place.traced(&fixture("question-answering"), "b", &shapes)
}

/// Changes the code of every graph.
fn edit_graphs(bundle: &Path, change: impl Fn(&str) -> String) {
    for entry in fs::read_dir(bundle.join("graphs")).unwrap() {
        let path = entry.unwrap().path();
        let mut old = ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let mut files = Vec::new();
        for index in 0..old.len() {
            let mut file = old.by_index(index).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            files.push((file.name().unwrap().into_owned(), bytes));
        }
        let mut new = ZipWriter::new(File::create(&path).unwrap());
        for (name, mut bytes) in files {
            if name.ends_with(".py") {
                let code = String::from_utf8(bytes).unwrap();
                let changed = change(&code);
                assert_ne!(code, changed, "the change did not find its place");
                bytes = changed.into_bytes();
            }
            new.start_file(name, SimpleFileOptions::default()).unwrap();
            new.write_all(&bytes).unwrap();
        }
        new.finish().unwrap();
    }
    seal_again(bundle);
}

/// The name that the graph has for an input; the last three are ids, mask and token types.
fn argument(code: &str, from_last: usize) -> String {
    let count = code.matches(": Tensor").count();
    format!("argument_{}", count - from_last)
}

#[test]
fn a_bundle_as_it_was_traced_passes() {
    let place = Workplace::new();
    bundle(&place);
    let text = place.run(&["verify", "b"]).succeeds().stdout();
    assert!(text.starts_with("verified: 4 of 4 buckets"), "{text}");
    let json = place
        .run(&["verify", "b", "--format", "json"])
        .succeeds()
        .json();
    assert_eq!(json["passed"], true);
    assert!(json["buckets"][0]["max_abs"].as_f64().unwrap() < 1e-5);
}

#[test]
fn an_ignored_mask_is_seen() {
    let place = Workplace::new();
    let bundle = bundle(&place);
    edit_graphs(&bundle, |code| {
        let mask = format!("torch.to({}, 6)", argument(code, 1));
        code.replacen(&mask, &format!("torch.add(torch.mul({mask}, 0.), 1.)"), 1)
    });
    let run = place
        .run(&["verify", "b"])
        .fails(1, &["does not compute what the model does"]);
    assert!(run.stdout().starts_with("FAILED"), "{}", run.stdout());
}

#[test]
fn zeroed_token_types_are_seen() {
    let place = Workplace::new();
    let bundle = bundle(&place);
    edit_graphs(&bundle, |code| {
        let types = argument(code, 0);
        let used = format!(", {types})");
        code.replacen(&used, &format!(", torch.mul({types}, 0))"), 1)
    });
    place
        .run(&["verify", "b"])
        .fails(1, &["does not compute what the model does"]);
}

#[test]
fn swapped_weights_are_seen() {
    let place = Workplace::new();
    let bundle = bundle(&place);
    let path = bundle.join("weights.safetensors");
    let bytes = fs::read(&path).unwrap();
    let size = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let name = |part: &str| format!("encoder.layer.0.attention.self.{part}.weight");
    let query = header[name("query")]["data_offsets"].take();
    let key = header[name("key")]["data_offsets"].take();
    header[name("query")]["data_offsets"] = key;
    header[name("key")]["data_offsets"] = query;
    let mut text = header.to_string();
    assert!(text.len() <= size);
    text.push_str(&" ".repeat(size - text.len()));
    let swapped = [&bytes[..8], text.as_bytes(), &bytes[8 + size..]].concat();
    fs::write(&path, swapped).unwrap();
    seal_again(&bundle);
    place
        .run(&["verify", "b"])
        .fails(1, &["does not compute what the model does"]);
}

#[test]
fn a_reference_that_is_not_a_number_is_seen() {
    let place = Workplace::new();
    let bundle = bundle(&place);
    edit_graphs(&bundle, |code| {
        let (before, value) = code.rsplit_once("return ").unwrap();
        format!(
            "{before}return torch.log(torch.sub({}, 1000.))\n",
            value.trim()
        )
    });
    let json = place
        .run(&["verify", "b", "--format", "json"])
        .fails(1, &[])
        .json();
    assert!(
        json["buckets"][0]["non_finite"].as_u64().unwrap() > 0,
        "{json}"
    );
}
