//! The work folder of a plan: the files of a compilation so far, so that the run after an interrupted or
//! failed one continues where that one stopped.
//!
//! It is in the user's cache, named after the plan's key, and one process uses it at a time.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::compiler::tracing::{TracedGraphs, stem};
use crate::executor::interpreter;
use crate::failure::Failure;
use crate::files;

/// Written last into a folder: with it, the files beside it are complete.
pub const DONE_FILE: &str = "done.json";

/// A work folder that this process has locked.
#[derive(Debug)]
pub struct WorkDir {
    folder: PathBuf,
    // The kernel unlocks it when the file is closed, also when the process is killed.
    _lock: File,
}

/// The record of a compiled bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompiledBucket {
    pub millis: u64,
    /// True when a device has run the artifact.
    pub ran: bool,
    /// The sha256 of the artifact.
    pub sha256: String,
}

/// The files of one bucket's compilation.
#[derive(Debug, Clone)]
pub struct BucketDir {
    pub folder: PathBuf,
}

impl WorkDir {
    /// Opens and locks the folder of the plan with `key` below `parent`; fails while another process has
    /// it locked.
    pub fn open(parent: &Path, key: &str) -> Result<Self> {
        let folder = parent.join(&key[..key.len().min(16)]);
        // Another process that ends meanwhile removes its folder; then ours is created anew.
        let lock = loop {
            files::create_folder(&folder)?;
            if let Some(lock) = try_lock(&folder)? {
                break lock;
            }
        };
        // Written by each run, since an update of neuronc may have changed the script.
        interpreter::write_script(&folder.join("script"))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Folder of the Python executor, which compilations and `rerun.sh` start.
    pub fn script(&self) -> PathBuf {
        self.folder.join("script")
    }

    /// The folder of graphs, weights and references with its record, traced by an earlier run or by `trace`
    /// now.
    pub fn traced(
        &self,
        trace: impl FnOnce(&Path) -> Result<TracedGraphs>,
    ) -> Result<(PathBuf, TracedGraphs)> {
        let folder = self.folder.join("traced");
        let done = folder.join(DONE_FILE);
        if let Ok(traced) = files::load_json(&done) {
            return Ok((folder, traced));
        }
        // Without the record, files of an interrupted run may be incomplete.
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

    /// Removes the folder, whose content is now in a bundle.
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

    /// Working directory of the compiler.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// The record of an earlier run, if the artifact has not changed since.
    pub fn compiled(&self) -> Option<CompiledBucket> {
        let compiled: CompiledBucket = files::load_json(&self.folder.join(DONE_FILE)).ok()?;
        let sha256 = files::sha256(&self.artifact()).ok()?;
        (sha256 == compiled.sha256).then_some(compiled)
    }

    /// Empties the folder for a new compilation.
    pub fn start(&self) -> Result<()> {
        remove(&self.folder)?;
        files::create_folder(&self.work())
    }

    /// Records the success and removes the working directory of the compiler. The record is written before
    /// the removal: whatever interrupts in between, the bucket counts as compiled.
    pub fn finish(&self, millis: u64, ran: bool) -> Result<CompiledBucket> {
        let compiled = CompiledBucket {
            millis,
            ran,
            sha256: files::sha256(&self.artifact())?,
        };
        files::write_json(&self.folder.join(DONE_FILE), &compiled)?;
        remove(&self.work())?;
        Ok(compiled)
    }
}

/// Locks a folder for this process. `None` where it was removed meanwhile, which a run does after sealing
/// its bundle: we would then hold the lock of a file that no other process can find.
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
    // The path may by now name a new file of a third process, so the same inode must be behind it.
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
        let traced = TracedGraphs {
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
