//! A name is one thing: no two types are called the same.
//!
//! `open_names.txt` has the names that several types still have. None is added to it: `NEURONC_BLESS=1`
//! takes out those that can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use syn::Ident;
use syn::visit::{self, Visit};

use crate::support::repository;
use crate::tidy::source::{self, Source, is_test};

/// Names that several types may have, and why.
const ALLOWED: [(&str, &str); 0] = [];

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
    let mut twice = twice(&source::built());
    for (name, _) in ALLOWED {
        let is_needed = twice.remove(name).is_some();
        assert!(
            is_needed,
            "`{name}` is no longer twice: take it off the list"
        );
    }
    let path = repository().join("tests/suite/tidy/open_names.txt");
    let text = fs::read_to_string(&path).unwrap();
    let open: BTreeSet<&str> = text.lines().collect();
    let found: BTreeSet<&str> = twice.keys().map(String::as_str).collect();
    let places = |name: &&str| format!("{name}: {}\n", twice[*name].join(", "));
    let new: String = found.difference(&open).map(places).collect();
    assert!(new.is_empty(), "several types have one name:\n{new}");
    if std::env::var_os("NEURONC_BLESS").is_some() {
        let lines = found.iter().map(|name| format!("{name}\n"));
        fs::write(path, lines.collect::<String>()).unwrap();
    } else {
        let gone: Vec<_> = open.difference(&found).collect();
        assert!(
            gone.is_empty(),
            "no longer twice: take them off {}: {gone:?}",
            path.display()
        );
    }
}

#[test]
fn a_type_of_the_tests_has_a_name_of_its_own() {
    let sources = source::below(&repository().join("tests"));
    let twice = twice(&sources);
    assert!(twice.is_empty(), "several types have one name: {twice:#?}");
}
