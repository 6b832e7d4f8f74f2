//! The explanations with the indexes by which they are found.

use std::collections::HashMap;
use std::sync::LazyLock;

use anyhow::Result;
use regex::{Regex, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::explanation::{Explanation, Group};
use crate::files;

/// The files under `data/`, in the order of [`Group::ALL`].
const FILES: [(&str, &str); 6] = [
    (
        "compiler-codes.yaml",
        include_str!("data/compiler-codes.yaml"),
    ),
    ("other-codes.yaml", include_str!("data/other-codes.yaml")),
    (
        "exit-statuses.yaml",
        include_str!("data/exit-statuses.yaml"),
    ),
    (
        "runtime-statuses.yaml",
        include_str!("data/runtime-statuses.yaml"),
    ),
    (
        "neuronc-exit-codes.yaml",
        include_str!("data/neuronc-exit-codes.yaml"),
    ),
    ("messages.yaml", include_str!("data/messages.yaml")),
];

/// The version of the format of the files.
const FORMAT: u32 = 1;

/// The table that is built into the program.
pub(super) static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::load(&FILES).expect("a test loads the table that is built in"));

/// A file under `data/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    format: u32,
    group: Group,
    #[serde(default)]
    chips: Vec<String>,
    entries: Vec<Explanation>,
}

/// Entries, and where each is found; the indexes hold positions in `entries`.
pub(super) struct Table {
    pub(super) entries: Vec<Explanation>,
    /// By name and alias, in capitals.
    names: HashMap<String, usize>,
    numbers: HashMap<i32, Vec<usize>>,
    codes_like: Vec<(Regex, usize)>,
    lines_like: RegexSet,
    /// The entry of each expression in `lines_like`.
    lines_of: Vec<usize>,
}

impl Table {
    fn load(files: &[(&str, &str)]) -> Result<Self> {
        let mut entries = Vec::new();
        for (name, text) in files {
            entries.extend(read(name, text)?);
        }
        let mut names = HashMap::new();
        let mut numbers: HashMap<i32, Vec<usize>> = HashMap::new();
        let mut codes_like = Vec::new();
        let mut lines = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            for name in entry.aliases.iter().chain([&entry.name]) {
                let known = names.insert(name.to_uppercase(), at);
                anyhow::ensure!(known.is_none(), "`{name}` has two entries");
            }
            for number in &entry.numbers {
                numbers.entry(*number).or_default().push(at);
            }
            if let Some(pattern) = &entry.codes_like {
                codes_like.push((Regex::new(&format!("^(?:{pattern})$"))?, at));
            }
            lines.extend(entry.lines_like.iter().map(|pattern| (pattern, at)));
        }
        let patterns = lines.iter().map(|(pattern, _)| pattern);
        let lines_like = RegexSetBuilder::new(patterns)
            .case_insensitive(true)
            .multi_line(true)
            .build()?;
        let lines_of = lines.iter().map(|(_, at)| *at).collect();
        Ok(Self {
            names,
            numbers,
            codes_like,
            lines_like,
            lines_of,
            entries,
        })
    }

    /// The entry with this name or alias, in any case.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_uppercase()).copied()
    }

    /// The entries with this number, in the order of the groups.
    pub(super) fn numbered(&self, number: i32) -> &[usize] {
        self.numbers.get(&number).map_or(&[], Vec::as_slice)
    }

    /// The entry for codes of this form.
    pub(super) fn like(&self, code: &str) -> Option<usize> {
        let found = self.codes_like.iter().find(|(form, _)| form.is_match(code));
        found.map(|(_, at)| *at)
    }

    /// The entries whose expressions are found in `line`.
    pub(super) fn in_line(&self, line: &str) -> impl Iterator<Item = usize> {
        let matches = self.lines_like.matches(line);
        matches.into_iter().map(|index| self.lines_of[index])
    }
}

fn read(name: &str, text: &str) -> Result<Vec<Explanation>> {
    let file: TableFile = files::parse_yaml(text, name)?;
    anyhow::ensure!(file.format == FORMAT, "`{name}` has format {}", file.format);
    let complete = |mut entry: Explanation| {
        entry.group = file.group;
        entry.chips.get_or_insert_with(|| file.chips.clone());
        entry
    };
    Ok(file.entries.into_iter().map(complete).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_is_built_in_loads() {
        let table = Table::load(&FILES).unwrap();
        let groups: Vec<Group> = table.entries.iter().map(|entry| entry.group).collect();
        let mut order = groups.clone();
        order.dedup();
        assert_eq!(order, Group::ALL);
    }

    #[test]
    fn a_mistake_in_the_data_is_named() {
        let entry = "{name: A1, title: t, meaning: m, remedy: [r], severity: error, source: s}";
        let file = |entries: &str| format!("format: 1\ngroup: messages\nentries: [{entries}]\n");
        assert!(Table::load(&[("x", &file(entry))]).is_ok());
        let twice = Table::load(&[("x", &file(&format!("{entry}, {entry}")))]);
        assert_eq!(twice.err().unwrap().to_string(), "`A1` has two entries");
        let unknown = Table::load(&[("x", &file(&entry.replace("title", "titel")))]);
        assert!(
            unknown
                .err()
                .unwrap()
                .to_string()
                .contains("`x` is not valid")
        );
    }
}
