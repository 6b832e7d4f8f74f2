//! No files use one another in a circle: what a file uses can be read, and taken away, without it.
//!
//! A file uses the file of a module that it names as `crate::...`, `super::...` or `self::...`, or as a
//! module of its own. Only that a folder's `mod.rs` has a `mod child;` is not a use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::tidy::source::{self, Source};

/// How many files of a folder are still in circles. Each number only goes down.
const OPEN: [(&str, usize); 14] = [
    ("crates/neuron-logs/src", 7),
    ("neuronc-torch/src", 3),
    ("src/arguments", 2),
    ("src/checkpoint", 2),
    ("src/compiler", 5),
    ("src/coverage", 5),
    ("src/doctor", 13),
    ("src/explain", 3),
    ("src/family", 2),
    ("src/hub", 8),
    ("src/profile", 3),
    ("src/runtime", 3),
    ("src/serve", 57),
    ("src/task", 9),
];

/// For each file, by the names of its module, those of the files that it uses.
type Uses = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// The uses between the files of one crate.
fn uses(sources: &[&Source]) -> Uses {
    let modules: BTreeSet<&[String]> = sources.iter().map(|source| &*source.module).collect();
    let used = |source: &&Source| {
        let paths = source.paths();
        let whole = paths
            .iter()
            .filter_map(|path| whole(&source.module, path, &modules));
        let files = whole.filter_map(|path| {
            // The longest beginning that is a module; the rest is an item of it.
            let mut lengths = (0..=path.len()).rev();
            let length = lengths.find(|length| modules.contains(&path[..*length]))?;
            Some(path[..length].to_vec())
        });
        let others = files.filter(|file| *file != source.module).collect();
        (source.module.clone(), others)
    };
    sources.iter().map(used).collect()
}

/// `path`, as the file of `module` names it, from the root of the crate; none where it leads elsewhere.
fn whole(module: &[String], path: &[String], modules: &BTreeSet<&[String]>) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            let above = &module[..module.len().checked_sub(ups)?];
            Some([above, &path[ups..]].concat())
        }
        first => {
            let own = [module, &[first.to_owned()]].concat();
            modules.contains(&*own).then(|| [module, path].concat())
        }
    }
}

/// Everything that `from` uses, and what that uses, and so on.
fn reached(uses: &Uses, from: &[String]) -> BTreeSet<Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&Vec<String>> = uses[from].iter().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file.clone()) {
            left.extend(&uses[file]);
        }
    }
    reached
}

/// The circles of a crate: files each of which uses all others of its circle, if not directly.
fn circles(uses: &Uses) -> BTreeSet<BTreeSet<Vec<String>>> {
    let reached: BTreeMap<_, _> = uses
        .keys()
        .map(|file| (file, reached(uses, file)))
        .collect();
    let circle = |file: &Vec<String>| {
        let others = reached[file]
            .iter()
            .filter(|other| reached[other].contains(file));
        others.cloned().collect::<BTreeSet<_>>()
    };
    let all = uses.keys().map(circle);
    all.filter(|circle| !circle.is_empty()).collect()
}

/// The uses within a circle, a line each.
fn shown(uses: &Uses, circle: &BTreeSet<Vec<String>>) -> String {
    let name = |file: &[String]| match file {
        [] => "crate".to_owned(),
        names => names.join("::"),
    };
    let mut lines = format!("{} files use one another:\n", circle.len());
    for file in circle {
        let used = uses[file].intersection(circle).map(|used| name(used));
        let used: Vec<String> = used.collect();
        lines.push_str(&format!("  {} uses {}\n", name(file), used.join(", ")));
    }
    lines
}

#[test]
fn no_files_use_one_another() {
    let sources = source::built();
    let mut crates: BTreeMap<_, Vec<&Source>> = BTreeMap::new();
    // A program is a crate of its own, and nobody can use it.
    for source in sources
        .iter()
        .filter(|source| !source.path.ends_with("src/main.rs"))
    {
        crates.entry(&source.root).or_default().push(source);
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = String::new();
    for (root, sources) in crates {
        let uses = uses(&sources);
        assert!(
            !uses.is_empty() && sources.len() == uses.len(),
            "{}",
            root.display()
        );
        for circle in circles(&uses) {
            found.push_str(&shown(&uses, &circle));
            for file in &circle {
                let folder = match file.first() {
                    Some(room) if root == Path::new("src") => root.join(room),
                    _ => root.clone(),
                };
                *counts.entry(folder.display().to_string()).or_default() += 1;
            }
        }
    }
    let open = OPEN
        .iter()
        .map(|(room, count)| ((*room).to_owned(), *count));
    let open: BTreeMap<String, usize> = open.collect();
    assert_eq!(
        counts, open,
        "folders with circles, and those that may have some still:\n{found}"
    );
}
