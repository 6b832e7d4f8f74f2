//! The manifest of a bundle.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bucket::Bucket;
use crate::failure::Failure;
use crate::files;
use crate::plan::Plan;
use crate::profile::ChipProfile;
use crate::sample::output::OutputLayout;

pub const MANIFEST_FILE: &str = "manifest.json";

/// Distinguishes a bundle's manifest from any other JSON file.
const FORMAT: &str = "neuronc-bundle";

/// Raised when an older neuronc could not read a newer bundle, or the other way round.
pub const FORMAT_VERSION: u32 = 3;

/// What a bundle holds and what it was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub format_version: u32,
    pub plan_key: String,
    pub plan: Plan,
    /// The chip as it was described when the bundle was made: a profile of the user's own may be gone.
    pub profile: ChipProfile,
    /// Who made the artifacts, with the versions it reported itself.
    pub executor: BTreeMap<String, String>,
    pub artifacts: Vec<Artifact>,
    /// The layout of what every artifact returns.
    pub output: OutputLayout,
    /// Fill-mask only: the token that stands for a word to fill in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_token: Option<String>,
    /// The order in which every graph takes the weights.
    pub weight_names: Vec<String>,
    /// Every file of the bundle but this one.
    pub files: BTreeMap<String, SealedFile>,
}

/// The artifact of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub bucket: Bucket,
    /// What a runtime loads, relative to the bundle.
    pub file: String,
    /// The TorchScript graph that was compiled; on cpu it is the artifact.
    pub graph: String,
    /// What the compiler printed; absent where libtorch compiles nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// A file as it was when the bundle was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedFile {
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    /// The manifest of a bundle that holds no files yet.
    pub fn new(plan: Plan, plan_key: String, profile: ChipProfile, output: OutputLayout) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: FORMAT_VERSION,
            plan_key,
            plan,
            profile,
            executor: BTreeMap::new(),
            artifacts: Vec::new(),
            output,
            mask_token: None,
            weight_names: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Reads the manifest in `folder`. The format is looked at before anything else, so that a
    /// bundle of another version is called that, and not damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST_FILE);
        let shown = folder.display();
        let absent = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => None,
            Ok(_) => Some(format!("its `{MANIFEST_FILE}` is not a file")),
            // Reading it says so.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            Err(_) => Some(match (folder.is_dir(), folder.exists()) {
                (true, _) => format!("it has no `{MANIFEST_FILE}`"),
                (false, true) => "it is a file, and a bundle is a folder".to_owned(),
                (false, false) => "there is no such folder".to_owned(),
            }),
        };
        if let Some(why) = absent {
            return Err(Failure::usage(format!("`{shown}` is not a bundle"))
                .why(why)
                .help("make one with `neuronc trace MODEL -o BUNDLE`")
                .into());
        }
        let damaged = |why: String| {
            Failure::usage(format!("the manifest of `{shown}` cannot be used"))
                .why(why)
                .help("copy the bundle again, or trace the model again with `--force`")
        };
        let value: Value = serde_json::from_slice(&files::read(&path)?)
            .map_err(|error| damaged(format!("`{MANIFEST_FILE}` is not JSON: {error}")))?;
        if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
            return Err(
                Failure::usage(format!("`{shown}` is not a bundle of neuronc"))
                    .why(format!(
                        "its `{MANIFEST_FILE}` does not say `\"format\": \"{FORMAT}\"`"
                    ))
                    .into(),
            );
        }
        let version = value.get("format_version").and_then(Value::as_u64);
        if version != Some(u64::from(FORMAT_VERSION)) {
            let version = version.map_or("none".to_owned(), |version| version.to_string());
            return Err(Failure::usage(format!(
                "the bundle `{shown}` has format version {version}, this neuronc reads {FORMAT_VERSION}"
            ))
            .help("trace the model again, or use the neuronc that made the bundle")
            .into());
        }
        serde_json::from_value(value).map_err(|error| damaged(error.to_string()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest of a bundle that neuronc made before manifests had the layout of the output.
    const VERSION_2: &str = include_str!("../../tests/fixtures/manifest-v2.json");

    #[test]
    fn a_bundle_of_version_2_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        files::write(&folder.path().join(MANIFEST_FILE), VERSION_2.as_bytes()).unwrap();
        let error = Manifest::read(folder.path()).unwrap_err().to_string();
        for part in ["format version 2", "reads 3", "trace the model again"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
