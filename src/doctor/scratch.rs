//! A temporary folder for the log of a program that the doctor starts.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::cleanup::{self, Registration};

/// A folder that is removed when the value is dropped, and when a signal ends the process.
pub(super) struct Scratch {
    folder: TempDir,
    _registration: Registration,
}

impl Scratch {
    pub(super) fn new(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("neuronc-doctor-")
            .tempdir_in(parent)
            .with_context(|| format!("creating a folder in `{}`", parent.display()))?;
        Ok(Self {
            _registration: cleanup::folder(folder.path()),
            folder,
        })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
