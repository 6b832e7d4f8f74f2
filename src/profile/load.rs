//! The embedded profiles, and those in files of the user.

use std::path::Path;

use anyhow::Result;

use crate::embedded::EmbeddedFolder;
use crate::failure::{Failure, known_names};
use crate::files;
use crate::profile::chip::ChipProfile;

include!(concat!(env!("OUT_DIR"), "/profiles.rs"));

const FOLDER: EmbeddedFolder = EmbeddedFolder {
    path: "profiles",
    files: PROFILES,
};

/// The names of the embedded profiles, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    FOLDER.names()
}

/// The embedded profile of that name.
pub fn load(name: &str) -> Result<ChipProfile> {
    let profile = FOLDER.load(name).unwrap_or_else(|| {
        Err(Failure::usage(format!("chip `{name}` is unknown"))
            .help(format!(
                "{}; or describe a new chip with `--profile FILE`",
                known_names(name, names())
            ))
            .into())
    })?;
    checked(profile, &format!("profiles/{name}.yaml"))
}

/// The profile in a file of the user.
pub fn load_file(path: &Path) -> Result<ChipProfile> {
    parse(&files::read_text(path)?, &path.display().to_string())
}

fn parse(text: &str, origin: &str) -> Result<ChipProfile> {
    checked(FOLDER.parse(text, origin)?, origin)
}

fn checked(profile: ChipProfile, origin: &str) -> Result<ChipProfile> {
    let problems = profile.problems();
    if problems.is_empty() {
        return Ok(profile);
    }
    Err(
        Failure::usage(format!("profile `{origin}` contradicts itself"))
            .why(problems.join("\n"))
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_profile_is_valid_and_named_like_its_file() {
        assert!(names().contains(&"cpu"));
        for name in names() {
            let profile = load(name).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(profile.name, name);
        }
    }

    #[test]
    fn an_unknown_chip_is_answered_with_the_nearest_names() {
        let error = load("Cpu").unwrap_err().to_string();
        assert!(error.contains("did you mean `cpu`?"), "{error}");
    }

    #[test]
    fn a_wrong_key_is_reported_with_its_place() {
        let error = parse("format: 1\nnam: x\n", "mine.yaml")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("mine.yaml") && error.contains("nam"),
            "{error}"
        );
    }
}
