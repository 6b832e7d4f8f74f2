//! Bundles: a sealed folder that holds everything a runtime needs, and a manifest that says so.
//!
//! A bundle is written as a [`draft`] beside its place and moved there when it is complete; after
//! that nothing in it changes. `docs/bundle.md` describes the files.

pub mod draft;
pub mod manifest;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

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

/// Tells a bundle on disk from every other one. Copies of a bundle are different ones: what becomes of
/// the files of one is nothing to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The sha256 of the manifest, which has the sha256 of all other files.
    digest: String,
    /// The folder, without links.
    place: PathBuf,
}

/// A complete bundle on disk.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    identity: Identity,
    /// How its files were when it was opened.
    stamps: Vec<Stamp>,
    pub manifest: Manifest,
}

/// Changes with whatever is done to a file: the system sets the time of the last change, and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Bundle {
    /// Opens the bundle in `folder`; fails for another format, and for a file that is missing or
    /// was changed as far as `check` shows it.
    pub fn open(folder: &Path, check: Check) -> Result<Self> {
        let manifest = Manifest::read(folder)?;
        let mut stamps = Vec::new();
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
                // Taken ahead of the hash: what is written from here on changes it.
                Ok(metadata) => stamps.push(Stamp::of(&metadata)),
            }
            if check == Check::Content && files::sha256(&path)? != sealed.sha256 {
                return Err(damaged("has another sha256 than the manifest".to_owned()).into());
            }
        }
        let identity = Identity {
            digest: files::sha256(&folder.join(MANIFEST_FILE))?,
            place: folder
                .canonicalize()
                .with_context(|| format!("looking for `{}`", folder.display()))?,
        };
        Ok(Self {
            folder: std::path::absolute(folder)?,
            identity,
            stamps,
            manifest,
        })
    }

    /// Opens what is in its folder now, and fails unless that is this bundle, whole. Files are read again
    /// only where something was done to them.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = Self::open(&self.folder, Check::Sizes)?;
        if now.digest() != self.digest() {
            let folder = self.folder.display();
            return Err(
                Failure::usage(format!("the bundle `{folder}` was replaced"))
                    .why("its manifest is another one than when it was opened")
                    .help("put the old one back, or serve the new one under that name")
                    .into(),
            );
        }
        if now.stamps != self.stamps {
            Self::open(&self.folder, Check::Content)?;
        }
        Ok(())
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The sha256 of the manifest, which has the sha256 of all other files.
    pub fn digest(&self) -> &str {
        &self.identity.digest
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
        files::load_json(&self.path(COVERAGE_FILE))
    }

    pub fn reference_rows(&self) -> Result<Vec<Row>> {
        files::load_json(&self.path(REFERENCE_ROWS_FILE))
    }
}
