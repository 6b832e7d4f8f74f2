//! The Rust files of the repository, parsed: where each is in the tree of modules, and what it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use syn::UseTree;
use syn::visit::{self, Visit};

use crate::support::repository;

/// A Rust file.
pub(crate) struct Source {
    /// Below the repository.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
    /// The crate's folder, such as `src` or `crates/neuron-logs/src`.
    pub(crate) root: PathBuf,
    /// The names of its module from the crate's root, which itself has none.
    pub(crate) module: Vec<String>,
}

impl Source {
    fn read(root: &Path, file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let syntax =
            syn::parse_file(&text).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        let below = file.strip_prefix(root).unwrap().with_extension("");
        let names = below
            .components()
            .map(|name| name.as_os_str().to_string_lossy().into_owned());
        let mut module: Vec<String> = names.collect();
        if module.last().is_some_and(|name| name == "mod") || module == ["lib"] {
            module.pop();
        }
        let within = |path: &Path| path.strip_prefix(repository()).unwrap().to_owned();
        Self {
            path: within(file),
            text,
            syntax,
            root: within(root),
            module,
        }
    }

    /// The first name of its module: the room of the house that it is in.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// Every path that the file names outside of its tests, each as its names; a `use` with braces
    /// gives several.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Paths::default();
        paths.visit_file(&self.syntax);
        paths.0
    }
}

/// The sources of the programs and libraries that are built, without the files of their own tests.
pub(crate) fn built() -> Vec<Source> {
    let mut roots = vec![
        repository().join("src"),
        repository().join("neuronc-torch/src"),
    ];
    let crates = fs::read_dir(repository().join("crates"))
        .into_iter()
        .flatten();
    roots.extend(crates.map(|entry| entry.unwrap().path().join("src")));
    let mut sources: Vec<Source> = roots.iter().flat_map(|root| below(root)).collect();
    sources.retain(|source| source.module.last().is_none_or(|name| name != "tests"));
    sources
}

/// Every Rust file below `root`, in order.
pub(crate) fn below(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.iter().map(|file| Source::read(root, file)).collect()
}

/// True where an attribute says that an item is there for tests only.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    let mut cfg = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"));
    cfg.any(|cfg| {
        cfg.parse_args::<syn::Path>()
            .is_ok_and(|of| of.is_ident("test"))
    })
}

#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn add_use(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_use(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.0.push(with(&name.ident)),
            UseTree::Rename(renamed) => self.0.push(with(&renamed.ident)),
            UseTree::Glob(_) => self.0.push(before.to_vec()),
            UseTree::Group(group) => {
                group
                    .items
                    .iter()
                    .for_each(|tree| self.add_use(before, tree));
            }
        }
    }
}

impl<'a> Visit<'a> for Paths {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    // Who may see an item is not a use.
    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.add_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(
            path.segments
                .iter()
                .map(|name| name.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'a syn::Macro) {
        // What a macro is given is not parsed: its paths are found by their looks.
        static NAMES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w+(?: :: \w+)+").unwrap());
        let tokens = called.tokens.to_string();
        for found in NAMES.find_iter(&tokens) {
            self.0
                .push(found.as_str().split(" :: ").map(str::to_owned).collect());
        }
        visit::visit_macro(self, called);
    }
}
