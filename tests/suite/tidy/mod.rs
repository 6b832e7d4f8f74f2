//! The rules of the tree that no compiler checks: here layers and sizes; `circles`, `names` and `rooms`
//! have a rule or two each.

mod circles;
mod names;
mod rooms;
pub(crate) mod source;

use std::fs;

use crate::support::repository;

/// The layers of `src/`, lowest first; a module uses those before it and its own.
const LAYERS: [&[&str]; 19] = [
    &[
        "cleanup",
        "embedded",
        "failure",
        "files",
        "host_memory",
        "html",
        "http_error",
        "processes",
        "tensor",
        "trust",
        "command",
    ],
    &[
        "bucket", "explain", "profile", "recipe", "sample", "timings",
    ],
    &["arguments", "cast", "family", "tokenizer"],
    &["checkpoint", "executor", "hub"],
    &["plan"],
    &["reference"],
    &["coverage"],
    &["bundle"],
    &["report"],
    &["compiler"],
    &["runtime"],
    &["task"],
    &["placement"],
    &["doctor", "verify"],
    &["rehearse"],
    &["serve"],
    &["bench", "top"],
    &["cli"],
    &["main", "lib"],
];

/// Modules of one layer that may use one another, in this order.
const SIDEWAYS: [(&str, &str); 15] = [
    ("cast", "arguments"),
    ("command", "cleanup"),
    ("embedded", "failure"),
    ("embedded", "files"),
    ("files", "failure"),
    ("host_memory", "files"),
    ("http_error", "failure"),
    ("processes", "files"),
    ("tensor", "failure"),
    ("trust", "failure"),
    ("trust", "files"),
    ("profile", "bucket"),
    ("recipe", "profile"),
    ("sample", "bucket"),
    ("timings", "bucket"),
];

const LINES_MAX: usize = 500;

fn layer(room: &str) -> usize {
    let index = LAYERS.iter().position(|layer| layer.contains(&room));
    index.unwrap_or_else(|| {
        panic!("`{room}` has no layer: add it to tests/suite/tidy/mod.rs and to ARCHITECTURE.md")
    })
}

#[test]
fn modules_use_only_the_layers_below_them() {
    for source in source::below(&repository().join("src")) {
        let from = source.room();
        let paths = source.paths();
        let named = paths
            .iter()
            .filter(|path| path[0] == "crate" && path.len() > 1);
        for to in named.map(|path| path[1].as_str()) {
            let sideways = SIDEWAYS.contains(&(from, to));
            let allowed = from == to || sideways || layer(to) < layer(from);
            let path = source.path.display();
            assert!(allowed, "{path}: `{from}` may not use `{to}`");
        }
    }
}

#[test]
fn files_are_one_thing_each() {
    let folders = ["src", "crates", "neuronc-torch", "tests"].map(|name| repository().join(name));
    let sources = folders.iter().filter(|folder| folder.exists());
    for source in sources.flat_map(|folder| source::below(folder)) {
        let (path, lines) = (source.path.display(), source.text.lines().count());
        assert!(
            lines <= LINES_MAX,
            "{path}: {lines} lines, at most {LINES_MAX}"
        );
        assert!(
            source.text.starts_with("//!"),
            "{path}: no `//!` says what it is for"
        );
    }
}

#[test]
fn every_subcommand_has_a_page() {
    let folder = repository().join("src/cli/commands");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| !path.ends_with("mod.rs"));
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = if path.is_dir() {
            path.join("mod.rs")
        } else {
            path
        };
        let text = fs::read_to_string(file).unwrap();
        let page = repository().join("docs").join(format!("{name}.md"));
        assert!(page.exists(), "{} is missing", page.display());
        assert!(
            text.contains("after_help"),
            "`{name} --help` has no example"
        );
    }
}
