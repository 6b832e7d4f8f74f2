//! Bundles: a sealed folder that holds everything a runtime needs, and a manifest that says so.
//!
//! A bundle is written as a [`draft`] beside its place and moved there when it is complete; after
//! that nothing in it changes. `docs/bundle.md` describes the files.

pub mod draft;
pub mod manifest;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::bucket::Row;
use crate::bundle::manifest::{MANIFEST_FILE, Manifest};
use crate::coverage::Coverage;
use crate::executor::job::WEIGHTS_FILE;
use crate::failure::Failure;
use crate::family::weights;
use crate::files;
use crate::profile::ChipProfile;

/// The reference rows, as JSON; their outputs are in `reference.safetensors`.
pub const REFERENCE_ROWS_FILE: &str = "reference.json";

/// The coverage, as JSON.
pub const COVERAGE_FILE: &str = "coverage.json";

/// The profile of the chip that the bundle was made for, as JSON.
pub const PROFILE_FILE: &str = "profile.json";

/// How closely a bundle is looked at when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every file is there and has its size.
    Sizes,
    /// Every file has its hash.
    Content,
}

/// A complete bundle on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    pub manifest: Manifest,
}

impl Bundle {
    /// Opens the bundle in `folder`; fails for another format, and for a file that is missing or
    /// was changed as far as `check` shows it.
    pub fn open(folder: &Path, check: Check) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        for (name, sealed) in &manifest.files {
            let path = files::inside(folder, name)?;
            let damaged = |why: String| {
                Failure::usage(format!("the bundle `{}` is damaged", folder.display()))
                    .why(format!("`{name}` {why}"))
                    .help("copy it again, or trace the model again with `--force`")
            };
            match std::fs::metadata(&path) {
                Err(error) => return Err(damaged(format!("cannot be read: {error}")).into()),
                Ok(metadata) if metadata.len() != sealed.bytes => {
                    let why = format!("has {} bytes instead of {}", metadata.len(), sealed.bytes);
                    return Err(damaged(why).into());
                }
                Ok(_) => {}
            }
            if check == Check::Content && files::sha256(&path)? != sealed.sha256 {
                return Err(damaged("has another sha256 than the manifest".to_owned()).into());
            }
        }
        let folder = std::path::absolute(folder)?;
        Ok(Self { folder, manifest })
    }

    /// True when `folder` has a manifest, whether or not it can be opened.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(MANIFEST_FILE).exists()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a file of the bundle.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The size of all its files.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.values().map(|file| file.bytes).sum()
    }

    /// Names and shapes of the weights, in the order in which every graph takes them.
    pub fn weights(&self) -> Result<Vec<(String, Vec<usize>)>> {
        match self.manifest.weight_names.as_slice() {
            [] => Ok(Vec::new()),
            names => weights::shapes(&self.path(WEIGHTS_FILE), names),
        }
    }

    /// The chip that it was made for, as it was described then: a profile of the user's own may be gone.
    pub fn profile(&self) -> Result<ChipProfile> {
        files::read_json(&self.path(PROFILE_FILE))
    }

    pub fn coverage(&self) -> Result<Coverage> {
        files::read_json(&self.path(COVERAGE_FILE))
    }

    pub fn reference_rows(&self) -> Result<Vec<Row>> {
        files::read_json(&self.path(REFERENCE_ROWS_FILE))
    }
}
