//! Every error that a user can see, word for word: each file below `tests/errors/` is one of them.
//!
//! A file is found by listing the folder, so a new one is a new test; `tests/README.md` says how to
//! write one. `NEURONC_BLESS=1` writes what the program says now into the files.

pub(crate) mod case;
mod folder;
mod http_server;
mod messages;
mod setup;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use snapbox::assert::Action;

use crate::errors::case::Case;
use crate::errors::folder::Problem;
use crate::support::{repository, skip};

/// The area of refusals over HTTP, which `serve::refusal_cases` runs.
const HTTP: &str = "http";

/// The area whose cases need doubles of the Neuron SDK, which not every machine has.
const NEURON: &str = "neuron";

/// Every case below `folder`, in order.
pub(crate) fn cases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(cases(&path));
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Runs every case that `wanted` picks, and shows the difference of each that says something else.
fn check(wanted: impl Fn(&Path) -> bool) {
    let root = repository().join("tests/errors");
    let only = std::env::var("NEURONC_CASES").unwrap_or_default();
    let mut left = cases(&root);
    left.retain(|path| {
        let name = path.strip_prefix(&root).unwrap();
        wanted(name) && name.display().to_string().starts_with(&only)
    });
    let left = Mutex::new(left);
    let differences = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(2, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = { left.lock().unwrap().pop() } {
                    if let Err(difference) = compare(&path) {
                        differences.lock().unwrap().push(difference);
                    }
                }
            });
        }
    });
    let mut differences = differences.into_inner().unwrap();
    differences.sort();
    assert!(
        differences.is_empty(),
        "{}\n{} cases say something else; NEURONC_BLESS=1 writes it down",
        differences.join("\n"),
        differences.len()
    );
}

/// Runs one case; the error is how what it says differs from its file.
fn compare(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).unwrap();
    let case = Case::parse(&text).map_err(|why| format!("{}: {why}", path.display()))?;
    match folder::run(&case) {
        Ok(said) => equals_file(format!("{}{said}", case.head), path),
        Err(Problem::Wrong(why)) => Err(format!("{}: {why}", path.display())),
        Err(Problem::Missing(what)) => {
            skip(format!("{}: {what}", path.display()));
            Ok(())
        }
    }
}

/// Compares `said` with the file of its case, or writes it there; the error is the difference.
pub(crate) fn equals_file(said: String, path: &Path) -> Result<(), String> {
    let action = match std::env::var_os("NEURONC_BLESS") {
        Some(_) => Action::Overwrite,
        None => Action::Verify,
    };
    let assert = snapbox::Assert::new().action(action).normalize_paths(false);
    let expected = snapbox::Data::read_from(path, None);
    assert
        .try_eq(None, snapbox::Data::text(said), expected)
        .map_err(|difference| difference.to_string())
}

#[test]
fn every_error_is_as_its_file_says() {
    check(|name| !name.starts_with(NEURON) && !name.starts_with(HTTP));
}

#[test]
fn every_error_of_a_neuron_compilation_is_as_its_file_says() {
    check(|name| name.starts_with(NEURON));
}
