//! A name is one thing: no two types are called the same.

use std::collections::BTreeMap;

use syn::Ident;
use syn::visit::{self, Visit};

use crate::support::repository;
use crate::tidy::source::{self, Source, is_test};

/// Names that several types may have, and why.
const ALLOWED: [(&str, &str); 0] = [];

/// Names that several types still have. None is added.
const OPEN: [&str; 87] = [
    "Answer",
    "Arguments",
    "Artifact",
    "Asked",
    "Batch",
    "Body",
    "Book",
    "Candidate",
    "Cast",
    "Class",
    "Clock",
    "Compiled",
    "Counts",
    "Detail",
    "Device",
    "Diagnosis",
    "Difference",
    "Entry",
    "Environment",
    "ErrorAnswer",
    "Family",
    "File",
    "Fill",
    "Function",
    "Given",
    "Graph",
    "Host",
    "Input",
    "Instance",
    "Kind",
    "Layout",
    "Line",
    "Lines",
    "Load",
    "Loaded",
    "Log",
    "Machine",
    "Measured",
    "Model",
    "Module",
    "Names",
    "Open",
    "Options",
    "Origin",
    "Outcome",
    "Parser",
    "Part",
    "Partitioner",
    "Place",
    "Placement",
    "Process",
    "Program",
    "Progress",
    "Reach",
    "Record",
    "Refusal",
    "Reply",
    "Report",
    "Request",
    "Role",
    "Row",
    "Run",
    "Severity",
    "Share",
    "Snapshot",
    "Source",
    "State",
    "Status",
    "Stop",
    "Stream",
    "Taken",
    "Tally",
    "Target",
    "Text",
    "Timings",
    "Token",
    "Traced",
    "Trouble",
    "Usage",
    "Use",
    "Verdict",
    "Wanted",
    "Watch",
    "Weight",
    "Window",
    "Work",
    "Worker",
];

/// The types that a file defines outside of its tests.
#[derive(Default)]
struct Types(Vec<String>);

impl Types {
    fn add(&mut self, name: &Ident) {
        self.0.push(name.to_string());
    }
}

impl<'a> Visit<'a> for Types {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_struct(&mut self, item: &'a syn::ItemStruct) {
        self.add(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'a syn::ItemEnum) {
        self.add(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'a syn::ItemTrait) {
        self.add(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'a syn::ItemType) {
        self.add(&item.ident);
    }
}

/// The names that several types have, each with the files of those.
fn twice(sources: &[Source]) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources {
        let mut types = Types::default();
        types.visit_file(&source.syntax);
        for name in types.0 {
            let file = source.path.display().to_string();
            places.entry(name).or_default().push(file);
        }
    }
    places.retain(|_, files| files.len() > 1);
    places
}

#[test]
fn a_type_has_a_name_of_its_own() {
    let twice = twice(&source::built());
    let known: Vec<&str> = { ALLOWED.iter().map(|(name, _)| *name) }
        .chain(OPEN)
        .collect();
    let new = twice
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()));
    let new: String = new
        .map(|(name, files)| format!("{name}: {}\n", files.join(", ")))
        .collect();
    assert!(new.is_empty(), "several types have one name:\n{new}");
    let gone: Vec<&&str> = known
        .iter()
        .filter(|name| !twice.contains_key(**name))
        .collect();
    assert!(
        gone.is_empty(),
        "no longer twice; take them off the list: {gone:?}"
    );
}

#[test]
fn a_type_of_the_tests_has_a_name_of_its_own() {
    let sources = source::below(&repository().join("tests"));
    let twice = twice(&sources);
    assert!(twice.is_empty(), "several types have one name: {twice:#?}");
}
