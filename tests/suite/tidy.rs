//! The rules of the tree that no compiler checks: layers, sizes, and who may do what.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `src/`, lowest first; a module uses those before it and its own.
const LAYERS: [&[&str]; 19] = [
    &[
        "cleanup",
        "failure",
        "files",
        "host_memory",
        "http_error",
        "processes",
        "tensor",
        "trust",
        "command",
    ],
    &["bucket", "explain", "profile", "recipe", "timings"],
    &["arguments", "family", "tokenizer"],
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
const SIDEWAYS: [(&str, &str); 11] = [
    ("command", "cleanup"),
    ("files", "failure"),
    ("host_memory", "files"),
    ("http_error", "failure"),
    ("processes", "files"),
    ("tensor", "failure"),
    ("trust", "failure"),
    ("trust", "files"),
    ("profile", "bucket"),
    ("recipe", "profile"),
    ("timings", "bucket"),
];

const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The top-level module of a file below `src/`.
fn module(path: &Path) -> String {
    let relative = path.strip_prefix(root().join("src")).unwrap();
    let first = relative
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn layer(module: &str) -> usize {
    let index = LAYERS.iter().position(|layer| layer.contains(&module));
    index.unwrap_or_else(|| {
        panic!("`{module}` has no layer: add it to tests/suite/tidy.rs and to ARCHITECTURE.md")
    })
}

/// The modules that a file names as `crate::module`.
fn used(text: &str) -> BTreeSet<String> {
    let names = text.split("crate::").skip(1);
    let name = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    names
        .map(name)
        .filter(|name: &String| !name.is_empty())
        .collect()
}

#[test]
fn modules_use_only_the_layers_below_them() {
    for (path, text) in sources(&root().join("src")) {
        let from = module(&path);
        for to in used(&text) {
            let sideways = SIDEWAYS.contains(&(from.as_str(), to.as_str()));
            let allowed = from == to || sideways || layer(&to) < layer(&from);
            assert!(allowed, "{}: `{from}` may not use `{to}`", path.display());
        }
    }
}

#[test]
fn files_are_one_thing_each() {
    for folder in ["src", "crates", "neuronc-torch", "tests"] {
        for (path, text) in sources(&root().join(folder)) {
            let lines = text.lines().count();
            assert!(
                lines <= LINES_MAX,
                "{}: {lines} lines, at most {LINES_MAX}",
                path.display()
            );
            assert!(
                text.starts_with("//!"),
                "{}: no `//!` says what it is for",
                path.display()
            );
        }
    }
}

#[test]
fn privileges_stay_where_they_belong() {
    let rules: [(&str, &[&str]); 5] = [
        ("std::process::Command", &["command"]),
        ("std::env", &["cli"]),
        ("use clap", &["cli"]),
        ("use indicatif", &["cli"]),
        ("use axum", &["serve"]),
    ];
    for (path, text) in sources(&root().join("src")) {
        let from = module(&path);
        for (needle, owners) in rules {
            let found = text.contains(needle);
            assert!(
                !found || owners.contains(&from.as_str()),
                "{}: `{needle}`",
                path.display()
            );
        }
        assert!(
            !text.contains(" tch::") || text.contains("(tch::"),
            "{}: only neuronc-torch names tch",
            path.display()
        );
    }
}

#[test]
fn nothing_names_a_chip_or_a_model_in_code() {
    let names: Vec<String> = ["profiles", "models"]
        .iter()
        .flat_map(|folder| fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    for (path, text) in sources(&root().join("src")) {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines().filter(|line| line.contains("=>")) {
            let pattern = line.split("=>").next().unwrap();
            for name in &names {
                assert!(
                    !pattern.contains(&format!("\"{name}\"")),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn every_subcommand_has_a_page() {
    let folder = root().join("src/cli/commands");
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
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
        let page = root().join("docs").join(format!("{name}.md"));
        assert!(page.exists(), "{} is missing", page.display());
        assert!(
            text.contains("after_help"),
            "`{name} --help` has no example"
        );
    }
}
