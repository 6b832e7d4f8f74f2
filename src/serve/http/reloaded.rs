//! What is made of files and made anew when they change: certificates and keys.
//!
//! Files are read again and compared, every second: that also sees what is swapped behind a link, as
//! Kubernetes does with secrets, and needs no signal.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Result;

use crate::failure::sentence;
use crate::files;

/// A file that cannot be read so often in a row is not just being replaced.
const MISSES_MAX: u32 = 5;

/// A file as it was read.
pub(super) struct FileContent {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl FileContent {
    fn read(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            bytes: files::read(path)?,
        })
    }

    /// For files whose content is nobody else's business.
    pub(super) fn warn_if_others_read(&self) {
        if self
            .path
            .metadata()
            .is_ok_and(|file| file.mode() & 0o004 != 0)
        {
            let path = self.path.display();
            tracing::warn!("`{path}` can be read by every user of this machine: `chmod o-r` it");
        }
    }
}

/// Makes a value of files; gets the one that was made before.
type MakeValue<T> = fn(&[FileContent], Option<&T>) -> Result<T>;

/// A value that is made of files.
pub(super) struct Reloaded<T> {
    paths: Vec<PathBuf>,
    make: MakeValue<T>,
    current: RwLock<Arc<T>>,
    /// What was read last, whether or not it could be used.
    seen: Mutex<Vec<Vec<u8>>>,
    /// How often in a row a file could not be read.
    missed: AtomicU32,
}

impl<T> Reloaded<T> {
    pub(super) fn open(paths: &[&Path], make: MakeValue<T>) -> Result<Self> {
        let contents: Vec<FileContent> = paths
            .iter()
            .map(|path| FileContent::read(path))
            .collect::<Result<_>>()?;
        Ok(Self {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            make,
            current: RwLock::new(Arc::new(make(&contents, None)?)),
            seen: Mutex::new(contents.into_iter().map(|content| content.bytes).collect()),
            missed: AtomicU32::new(0),
        })
    }

    pub(super) fn current(&self) -> Arc<T> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what has changed; what cannot be used is logged, and what there was stays.
    pub(super) fn refresh(&self) {
        let contents: Result<Vec<FileContent>> = self
            .paths
            .iter()
            .map(|path| FileContent::read(path))
            .collect();
        let contents = match contents {
            Ok(contents) => contents,
            Err(error) => return self.miss(&error),
        };
        self.missed.store(0, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |(content, seen): (&FileContent, &Vec<u8>)| content.bytes == *seen;
        if contents.iter().zip(seen.iter()).all(is_same) {
            return;
        }
        let names: Vec<String> = self
            .paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let names = names.join("`, `");
        match (self.make)(&contents, Some(&self.current())) {
            Ok(made) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                tracing::info!("`{names}` has changed and is used from now on");
            }
            Err(error) => {
                tracing::error!(
                    "`{names}` has changed and cannot be used, what was there stays: {}",
                    sentence(&error)
                );
            }
        }
        *seen = contents.into_iter().map(|content| content.bytes).collect();
    }

    /// A file that is just being replaced may be missing for a moment.
    fn miss(&self, error: &anyhow::Error) {
        if self.missed.fetch_add(1, Ordering::Relaxed) + 1 == MISSES_MAX {
            tracing::error!(
                "a file cannot be read, what was there stays: {}",
                sentence(error)
            );
        }
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}
