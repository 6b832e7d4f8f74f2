//! No files use one another in a circle: what a file uses can be read, and taken away, without it.
//!
//! A file uses the file of a module that it names as `crate::...`, `super::...` or `self::...`, or as a
//! module of its own. Only that a folder's `mod.rs` has a `mod child;` is not a use.
//!
//! `open_circles.txt` says how many files of a folder are still in circles. A number in it only goes
//! down: `NEURONC_BLESS=1` lowers those that can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::repository;
use crate::tidy::source::{self, Source};

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
    let path = repository().join("tests/suite/tidy/open_circles.txt");
    let open = fs::read_to_string(&path).unwrap();
    let count = |line: &str| {
        let (folder, count) = line.rsplit_once(' ').unwrap();
        (folder.to_owned(), count.parse().unwrap())
    };
    let open: BTreeMap<String, usize> = open.lines().map(count).collect();
    let allowed = |(folder, count): (&String, &usize)| open.get(folder) >= Some(count);
    if std::env::var_os("NEURONC_BLESS").is_some() && counts.iter().all(allowed) {
        let lines = counts
            .iter()
            .map(|(folder, count)| format!("{folder} {count}\n"));
        fs::write(path, lines.collect::<String>()).unwrap();
    } else {
        assert_eq!(
            counts, open,
            "files in circles, and those that may be still:\n{found}"
        );
    }
}
