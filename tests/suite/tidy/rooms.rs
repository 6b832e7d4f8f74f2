//! Who may do what: some crates, some of the standard library and `async` are for some rooms only, and
//! no code names a chip or a model.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use crate::support::repository;
use crate::tidy::source::{self, Source, is_test};

/// What a path begins with, and the rooms that may name it. A program's `main` belongs to its crate.
const OWNERS: [(&str, &[&str]); 8] = [
    ("std::process::Command", &["command"]),
    ("std::env", &["cli"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("indicatif", &["cli"]),
    ("axum", &["serve"]),
    ("hyper", &["serve"]),
    ("tch", &[]),
];

/// The rooms that wait for several things at once.
const ASYNC: [&str; 4] = ["bench", "hub", "serve", "top"];

/// Names of chips and models that stand in code, and why.
const NAMED: [(&str, &str, &str); 4] = [
    (
        "cpu",
        "src/cli/commands/doctor.rs",
        "the machine itself, which needs no device",
    ),
    ("cpu", "src/processes.rs", "a word of /proc/stat"),
    (
        "inf1",
        "src/cli/commands/migrate.rs",
        "what the settings of the older server call by another name",
    ),
    (
        "inf1",
        "src/report/source.rs",
        "logs of its compiler say no more than the generation",
    ),
];

/// The sources of `neuronc` itself.
fn sources() -> Vec<Source> {
    let mut sources = source::built();
    sources.retain(|source| source.root == Path::new("src"));
    sources
}

#[test]
fn privileges_stay_where_they_belong() {
    for source in sources() {
        for path in source.paths() {
            let path = path.join("::");
            let begins = |what: &str| path == what || path.starts_with(&format!("{what}::"));
            for (what, owners) in OWNERS {
                let allowed = !begins(what) || owners.contains(&source.room());
                assert!(allowed, "{}: `{path}`", source.path.display());
            }
        }
    }
}

/// Finds `async` and `.await`, tests apart.
#[derive(Default)]
struct Async(bool);

impl<'a> Visit<'a> for Async {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_signature(&mut self, signature: &'a syn::Signature) {
        self.0 |= signature.asyncness.is_some();
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, _: &'a syn::ExprAsync) {
        self.0 = true;
    }

    fn visit_expr_await(&mut self, _: &'a syn::ExprAwait) {
        self.0 = true;
    }
}

#[test]
fn only_some_rooms_are_async() {
    for source in source::built() {
        let mut found = Async::default();
        found.visit_file(&source.syntax);
        // The subcommand of a room begins what is async there.
        let is_room = source
            .module
            .iter()
            .any(|name| ASYNC.contains(&name.as_str()));
        assert!(!found.0 || is_room, "{} is async", source.path.display());
    }
}

/// The texts of a file's code, tests and attributes apart.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'a> Visit<'a> for Texts {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.0.push(text.value());
    }
}

#[test]
fn nothing_names_a_chip_or_a_model_in_code() {
    let folders = ["profiles", "models"].map(|folder| repository().join(folder));
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut names: BTreeSet<String> = entries.map(|entry| stem(entry.unwrap().path())).collect();
    // Folders beside the profiles.
    names.retain(|name| !["operators", "timings"].contains(&name.as_str()));
    let mut needed = BTreeSet::new();
    for source in sources() {
        let mut texts = Texts::default();
        texts.visit_file(&source.syntax);
        let file = source.path.display().to_string();
        for text in texts.0.iter().filter(|text| names.contains(*text)) {
            let reason = NAMED
                .iter()
                .find(|(name, of, _)| name == text && *of == file);
            assert!(reason.is_some(), "{file} names `{text}`");
            needed.insert((text.clone(), file.clone()));
        }
    }
    for (name, file, _) in NAMED {
        let is_needed = needed.contains(&(name.to_owned(), file.to_owned()));
        assert!(
            is_needed,
            "{file} no longer names `{name}`: take it off the list"
        );
    }
}
