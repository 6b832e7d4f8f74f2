//! The work folder of a plan: what a compilation has so far, so that an interrupted or failed one
//! goes on where it stopped.
//!
//! It lies below the user's cache, under the plan's key, and one process uses it at a time.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::compiler::tracing::{Traced, stem};
use crate::executor::interpreter;
use crate::failure::Failure;
use crate::files;

/// Written last: what lies beside it is complete.
pub const DONE_FILE: &str = "done.json";

/// A work folder that this process holds.
#[derive(Debug)]
pub struct WorkDir {
    folder: PathBuf,
    _lock: File,
}

/// A bucket that is compiled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compiled {
    pub millis: u64,
    /// A device ran the artifact.
    pub ran: bool,
    /// Of the artifact.
    pub sha256: String,
}

/// The files of one bucket's compilation.
#[derive(Debug, Clone)]
pub struct BucketDir {
    pub folder: PathBuf,
}

impl WorkDir {
    /// Opens the folder of the plan with `key` below `parent`; fails while another process has it.
    pub fn open(parent: &Path, key: &str) -> Result<Self> {
        let folder = parent.join(&key[..key.len().min(16)]);
        let lock = loop {
            files::create_folder(&folder)?;
            if let Some(lock) = try_lock(&folder)? {
                break lock;
            }
        };
        interpreter::write_script(&folder.join("script"))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// The Python executor, as every compilation of this plan and every run again starts it.
    pub fn script(&self) -> PathBuf {
        self.folder.join("script")
    }

    /// The folder of graphs, weights and references, with what is known of them: traced by an
    /// earlier run, or by `trace` now.
    pub fn traced(&self, trace: impl FnOnce(&Path) -> Result<Traced>) -> Result<(PathBuf, Traced)> {
        let folder = self.folder.join("traced");
        let done = folder.join(DONE_FILE);
        if let Ok(traced) = files::read_json(&done) {
            return Ok((folder, traced));
        }
        remove(&folder)?;
        files::create_folder(&folder)?;
        let traced = trace(&folder)?;
        files::write_json(&done, &traced)?;
        Ok((folder, traced))
    }

    pub fn bucket(&self, bucket: Bucket) -> BucketDir {
        BucketDir {
            folder: self.folder.join(stem(bucket)),
        }
    }

    /// Removes the folder: its content is in a bundle.
    pub fn remove(self) -> Result<()> {
        remove(&self.folder)
    }
}

impl BucketDir {
    pub fn artifact(&self) -> PathBuf {
        self.folder.join("artifact.pt")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.join("compiler.log")
    }

    pub fn analysis(&self) -> PathBuf {
        self.folder.join("analysis.json")
    }

    /// Where the compiler works.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// What an earlier run compiled, if its artifact is still what it was.
    pub fn compiled(&self) -> Option<Compiled> {
        let compiled: Compiled = files::read_json(&self.folder.join(DONE_FILE)).ok()?;
        let sha256 = files::sha256(&self.artifact()).ok()?;
        (sha256 == compiled.sha256).then_some(compiled)
    }

    /// Empties the folder for a new attempt.
    pub fn start(&self) -> Result<()> {
        remove(&self.folder)?;
        files::create_folder(&self.work())
    }

    /// The attempt succeeded: what the compiler worked with is removed.
    pub fn finish(&self, millis: u64, ran: bool) -> Result<Compiled> {
        let compiled = Compiled {
            millis,
            ran,
            sha256: files::sha256(&self.artifact())?,
        };
        files::write_json(&self.folder.join(DONE_FILE), &compiled)?;
        remove(&self.work())?;
        Ok(compiled)
    }
}

/// Locks a folder for this process. `None` where it was removed meanwhile, as a run does that has
/// made its bundle: the lock is then that of a file that nobody else will find.
fn try_lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("lock");
    let lock = match File::create(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        created => created.with_context(|| format!("creating `{}`", path.display()))?,
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Failure::usage("another neuronc compiles the same plan")
                .why(format!("it works in `{}`", folder.display()))
                .help("wait for it to end")
                .into());
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("locking `{}`", path.display()));
        }
    }
    let ours = lock
        .metadata()
        .with_context(|| format!("reading `{}`", path.display()))?;
    let is_there = fs::metadata(&path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    Ok(is_there.then_some(lock))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("removing `{}`", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sample::output::{OutputLayout, Per};
    use crate::tensor::Dtype;

    const BUCKET: Bucket = Bucket {
        sequence: 32,
        batch: 1,
    };

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let held = WorkDir::open(parent.path(), "key").unwrap();
        let error = WorkDir::open(parent.path(), "key").unwrap_err().to_string();
        assert!(error.contains("another neuronc"), "{error}");
        drop(held);
        WorkDir::open(parent.path(), "key").unwrap();
    }

    #[test]
    fn an_artifact_that_changed_is_compiled_again() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::open(parent.path(), "key").unwrap();
        let bucket = work.bucket(BUCKET);
        assert_eq!(bucket.compiled(), None);
        bucket.start().unwrap();
        files::write(&bucket.artifact(), b"neff").unwrap();
        let compiled = bucket.finish(5, false).unwrap();
        assert_eq!(bucket.compiled(), Some(compiled));
        files::write(&bucket.artifact(), b"nef").unwrap();
        assert_eq!(bucket.compiled(), None);
    }

    #[test]
    fn what_was_traced_is_not_traced_again() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::open(parent.path(), "key").unwrap();
        assert!(work.traced(|_| anyhow::bail!("out of disk")).is_err());
        let traced = Traced {
            versions: BTreeMap::new(),
            weight_names: Vec::new(),
            graphs: Vec::new(),
            output: OutputLayout {
                per: Per::Sample,
                width: 2,
                dtype: Dtype::F32,
            },
            mask_token: None,
        };
        work.traced(|_| Ok(traced)).unwrap();
        work.traced(|_| anyhow::bail!("traced again")).unwrap();
    }
}
