//! Folders of YAML files that are part of the program, such as the profiles of chips.
//!
//! A file with `like: NAME` says only in what it differs from the file NAME of its folder: mappings
//! are merged key by key, any other value replaces the one of that file, and `null` takes a key away.

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::{Failure, known_names};
use crate::files;

/// The key that names the file that another one is like.
const LIKE: &str = "like";

/// The files of one folder, as the build script lists them.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedFolder {
    /// The folder in the repository.
    pub path: &'static str,
    /// Name, without the extension, and text of each file, in alphabetical order.
    pub files: &'static [(&'static str, &'static str)],
}

impl EmbeddedFolder {
    /// The names of the files, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        self.files.iter().map(|(name, _)| *name).collect()
    }

    /// The value in the file `name`, if there is one.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> Option<Result<T>> {
        let text = self.text(name)?;
        Some(self.parse(text, &self.origin(name)))
    }

    /// The value in `text`, a file of this folder or of a user, which may be like one of this folder.
    /// `origin` is the path that errors give.
    pub fn parse<T: DeserializeOwned>(&self, text: &str, origin: &str) -> Result<T> {
        let keys = files::parse_yaml_keys(text, origin)?;
        if !keys.contains_key(LIKE) {
            // Parsed from the text once more, since only then errors have lines.
            return files::parse_yaml(text, origin);
        }
        let merged = self.merged(keys, origin)?;
        serde_path_to_error::deserialize(Value::Object(merged)).map_err(|error| {
            Failure::usage(format!("`{origin}` is not valid"))
                .why(format!("{}: {}", error.path(), error.inner()))
                .into()
        })
    }

    fn text(&self, name: &str) -> Option<&'static str> {
        let file = self.files.iter().find(|(known, _)| *known == name);
        file.map(|(_, text)| *text)
    }

    fn origin(&self, name: &str) -> String {
        format!("{}/{name}.yaml", self.path)
    }

    /// `keys` of the file `origin`, on top of those of the files that it is like.
    fn merged(&self, mut keys: Map<String, Value>, origin: &str) -> Result<Map<String, Value>> {
        let mut seen = vec![origin.to_owned()];
        let mut differences = Vec::new();
        while let Some(like) = keys.remove(LIKE) {
            differences.push(keys);
            let name = like.as_str().unwrap_or_default();
            let Some(text) = self.text(name) else {
                let origin = seen.last().map_or(origin, String::as_str);
                return Err(Failure::usage(format!("`{origin}` is not valid"))
                    .why(format!(
                        "it is like {like}, which `{}` does not have",
                        self.path
                    ))
                    .help(known_names(name, self.names()))
                    .into());
            };
            let next = self.origin(name);
            if seen.contains(&next) {
                return Err(Failure::usage(format!("`{origin}` is not valid"))
                    .why(format!(
                        "it is like itself: {} is like {next}",
                        seen.join(" is like ")
                    ))
                    .into());
            }
            keys = files::parse_yaml_keys(text, &next)?;
            seen.push(next);
        }
        while let Some(difference) = differences.pop() {
            merge(&mut keys, difference);
        }
        Ok(keys)
    }
}

/// Puts `difference` on top of `keys`.
fn merge(keys: &mut Map<String, Value>, difference: Map<String, Value>) {
    for (key, new) in difference {
        match (keys.get_mut(&key), new) {
            (_, Value::Null) => {
                keys.remove(&key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, new) => {
                keys.insert(key, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Dish {
        name: String,
        parts: BTreeMap<String, Vec<u32>>,
        #[serde(default)]
        note: Option<String>,
    }

    const FOLDER: EmbeddedFolder = EmbeddedFolder {
        path: "dishes",
        files: &[
            ("a", "name: a\nparts: {x: [1, 2], y: [3]}\nnote: on\n"),
            ("b", "like: a\nname: b\nparts: {x: [9], z: [4]}\n"),
            ("c", "like: b\nname: c\nnote: null\nparts: {y: null}\n"),
            ("loop", "like: pool\n"),
            ("pool", "like: loop\n"),
        ],
    };

    #[test]
    fn a_file_says_only_in_what_it_differs() {
        let dish: Dish = FOLDER.load("c").unwrap().unwrap();
        let parts = [("x".to_owned(), vec![9]), ("z".to_owned(), vec![4])];
        let expected = Dish {
            name: "c".to_owned(),
            parts: BTreeMap::from(parts),
            note: None,
        };
        assert_eq!(dish, expected);
        assert!(FOLDER.load::<Dish>("d").is_none());
    }

    #[test]
    fn a_file_of_the_user_may_be_like_one_of_the_folder() {
        let dish: Dish = FOLDER.parse("like: a\nname: mine\n", "mine.yaml").unwrap();
        assert_eq!((dish.name.as_str(), dish.parts.len()), ("mine", 2));
        // A text, as it is where a type says so, and not a boolean.
        assert_eq!(dish.note.as_deref(), Some("on"));
    }

    #[test]
    fn errors_name_the_file_and_the_place() {
        let error = |text: &str| {
            FOLDER
                .parse::<Dish>(text, "mine.yaml")
                .unwrap_err()
                .to_string()
        };
        for (text, parts) in [
            ("name: x\nparts: 7\n", &["mine.yaml", "2:8"][..]),
            (
                "like: a\nparts: {x: [1, -1]}\n",
                &["mine.yaml", "parts.x[1]", "-1"],
            ),
            (
                "like: a\npart: {}\n",
                &["mine.yaml", "unknown field `part`"],
            ),
            (
                "like: aa\n",
                &["mine.yaml", "\"aa\"", "dishes", "did you mean `a`"],
            ),
            ("like: [a]\n", &["mine.yaml", "[\"a\"]"]),
            (
                "like: loop\n",
                &["mine.yaml is like dishes/loop.yaml is like dishes/pool.yaml"],
            ),
        ] {
            let error = error(text);
            for part in parts {
                assert!(error.contains(part), "{text}: {part}: {error}");
            }
        }
    }
}
