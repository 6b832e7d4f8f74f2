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

/// The reference rows, as JSON; their outputs are in `reference.safetensors`.
pub const REFERENCE_ROWS_FILE: &str = "reference.json";

/// The coverage, as JSON.
pub const COVERAGE_FILE: &str = "coverage.json";

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
    /// The sha256 of the manifest.
    digest: String,
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
        let digest = files::sha256(&folder.join(MANIFEST_FILE))?;
        let folder = std::path::absolute(folder)?;
        Ok(Self {
            folder,
            digest,
            manifest,
        })
    }

    /// Opens what is in its folder now, and fails unless that is this bundle, whole.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = Self::open(&self.folder, Check::Sizes)?;
        if now.digest != self.digest {
            let folder = self.folder.display();
            return Err(
                Failure::usage(format!("the bundle `{folder}` was replaced"))
                    .why("its manifest is another one than when it was opened")
                    .help("put the old one back, or load the new one under a name of its own")
                    .into(),
            );
        }
        Ok(())
    }

    /// Tells this bundle from every other one, wherever it lies: the sha256 of its manifest, which has
    /// the sha256 of all other files.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// True when the other one has the same content, and is in the same place: from elsewhere, workers
    /// would start from where it is.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let place = |bundle: &Self| bundle.folder.canonicalize().ok();
        self.digest == other.digest
            && (self.folder == other.folder
                || place(self).is_some_and(|it| place(other) == Some(it)))
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

    pub fn coverage(&self) -> Result<Coverage> {
        files::read_json(&self.path(COVERAGE_FILE))
    }

    pub fn reference_rows(&self) -> Result<Vec<Row>> {
        files::read_json(&self.path(REFERENCE_ROWS_FILE))
    }
}
