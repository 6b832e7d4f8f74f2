//! The cache on disk, in the layout of Python's huggingface_hub, so that each finds the other's files.
//!
//! ```text
//! models--org--name/refs/main                     the commit that a revision named
//! models--org--name/trees/<commit>.json           the list of a commit's files (huggingface_hub 2)
//! models--org--name/blobs/<digest>                content; `<digest>.incomplete` while it arrives
//! models--org--name/snapshots/<commit>/a/b.json   a relative link to its blob
//! .locks/models--org--name/<digest>.lock          held by the process that downloads the blob
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::folder;
use super::listing::{Digest, RemoteFile};
use super::name::{is_commit, is_hex, is_plain};
use crate::failure::{Class, Failure};
use crate::files;

/// The version of huggingface_hub's format for lists of files that is read and written.
const TREE_FORMAT: u32 = 1;

/// Pause between two attempts to take a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The cache of one repository.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    id: String,
    hub: PathBuf,
    /// `models--org--name`
    name: String,
}

/// The list of a commit's files, as huggingface_hub stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    format_version: u32,
    files: BTreeMap<String, TreeEntry>,
}

/// One file of a [`Tree`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TreeEntry {
    pub(super) size: u64,
    pub(super) blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xet_hash: Option<String>,
}

impl Tree {
    pub(super) fn new(files: BTreeMap<String, TreeEntry>) -> Self {
        Self {
            format_version: TREE_FORMAT,
            files,
        }
    }

    /// The files in our form. Paths and digests become paths in the cache, so an entry that would leave it is
    /// refused; the error says which.
    pub(super) fn files(&self) -> Result<Vec<RemoteFile>, String> {
        let mut listed = Vec::new();
        for (path, entry) in &self.files {
            if !is_plain(path) {
                return Err(format!("`{}` is not a plain path", path.escape_debug()));
            }
            let (digest, length) = match &entry.lfs_sha256 {
                Some(hex) => (Digest::Sha256(hex.clone()), 64),
                None => (Digest::GitBlob(entry.blob_id.clone()), 40),
            };
            if !is_hex(digest.hex(), length) {
                return Err(format!("the digest of `{path}` is malformed"));
            }
            listed.push(RemoteFile {
                path: path.clone(),
                bytes: entry.lfs_size.unwrap_or(entry.size),
                digest: Some(digest),
            });
        }
        Ok(listed)
    }
}

impl RepoCache {
    /// The cache of the repository `id` below the `hub` folder; `id` has been checked.
    pub(super) fn new(hub: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            hub: hub.to_owned(),
            name: format!("models--{}", id.replace('/', "--")),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn path(&self, part: &str) -> PathBuf {
        self.hub.join(&self.name).join(part)
    }

    /// The folder of the files of a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.path("snapshots").join(commit)
    }

    pub(super) fn ref_path(&self, revision: &str) -> PathBuf {
        self.path("refs").join(revision)
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs").join(digest.hex())
    }

    /// File that gathers the content of a blob until it is complete.
    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.path("blobs")
            .join(format!("{}.incomplete", digest.hex()))
    }

    /// The commit that `revision` named when it was last downloaded.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let text = files::read_text(&self.ref_path(revision)).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// The stored list of a commit, which never changes. One that is damaged or refused counts as absent.
    pub(super) fn tree(&self, commit: &str) -> Option<Tree> {
        let tree: Tree = files::load_json(&self.tree_path(commit)).ok()?;
        let usable = tree.format_version == TREE_FORMAT && tree.files().is_ok();
        usable.then_some(tree)
    }

    fn tree_path(&self, commit: &str) -> PathBuf {
        self.path("trees").join(format!("{commit}.json"))
    }

    /// The files of a commit that are in the cache, for a commit without a stored list.
    pub(super) fn scan(&self, commit: &str) -> Result<Vec<RemoteFile>> {
        let snapshot = self.snapshot(commit);
        if !snapshot.is_dir() {
            return Ok(Vec::new());
        }
        let mut found = folder::list(&snapshot)?;
        for file in &mut found {
            // The link of a file names its blob, and the blob's name is the digest.
            file.digest = fs::read_link(snapshot.join(&file.path))
                .ok()
                .and_then(|target| digest_of_blob(&target));
        }
        Ok(found)
    }

    /// True when the snapshot has this file in full.
    pub(super) fn holds(&self, commit: &str, file: &RemoteFile) -> bool {
        is_file_of(&self.snapshot(commit).join(&file.path), file.bytes)
    }

    /// True when the content of this file is in the cache, perhaps for another commit.
    pub(super) fn holds_blob(&self, file: &RemoteFile) -> bool {
        file.digest
            .as_ref()
            .is_some_and(|digest| is_file_of(&self.blob(digest), file.bytes))
    }

    /// Links a file whose blob is in the cache into the snapshot.
    pub(super) fn link(&self, commit: &str, file: &RemoteFile) -> Result<()> {
        let Some(digest) = &file.digest else {
            return Ok(());
        };
        let pointer = self.snapshot(commit).join(&file.path);
        self.create_folder(files::parent(&pointer))?;
        // From the folder of the link over `<commit>` and `snapshots` up to the repository. A relative link
        // stays valid where the cache is mounted elsewhere.
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", digest.hex()));
        let failed = |error| self.unwritable(&pointer, &error);
        match symlink(&target, &pointer) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Another process may have made the same link at the same time.
                if fs::read_link(&pointer).is_ok_and(|now| now == target) {
                    return Ok(());
                }
                fs::remove_file(&pointer).map_err(failed)?;
                symlink(&target, &pointer).map_err(failed)
            }
            result => result.map_err(failed),
        }
    }

    /// Stores the commit that a revision names.
    pub(super) fn store_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        self.replace(&self.ref_path(revision), commit.as_bytes())
    }

    /// Stores the list of a commit's files.
    pub(super) fn store_tree(&self, commit: &str, tree: &Tree) -> Result<()> {
        if self.tree(commit).is_some() {
            return Ok(());
        }
        self.replace(&self.tree_path(commit), &serde_json::to_vec_pretty(tree)?)
    }

    /// Replaces a file as a whole: readers see the old content or the new one. Temporary files are readable by
    /// their owner only, so the mode is set to what the umask allows, since users share caches.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        let folder = files::parent(path);
        self.create_folder(folder)?;
        let failed = |error: io::Error| self.unwritable(path, &error);
        let mut temporary = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o666))
            .suffix(".tmp")
            .tempfile_in(folder)
            .map_err(failed)?;
        temporary.write_all(content).map_err(failed)?;
        temporary
            .persist(path)
            .map_err(|error| failed(error.error))?;
        Ok(())
    }

    pub(super) fn create_folder(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(|error| self.unwritable(folder, &error))
    }

    /// Waits until this process alone may download a blob. It is the lock of Python's huggingface_hub, and
    /// the kernel releases it when the process that holds it ends in whatever way. `stall` is the longest
    /// time without progress of the holder; `waiting` is called once, if another process has the lock.
    pub(super) fn lock(
        &self,
        digest: &Digest,
        stall: Duration,
        waiting: &mut dyn FnMut(),
    ) -> Result<File> {
        let folder = self.hub.join(".locks").join(&self.name);
        self.create_folder(&folder)?;
        let path = folder.join(format!("{}.lock", digest.hex()));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| self.unwritable(&path, &error))?;
        let mut seen = None;
        let mut since = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.unlockable(&path, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            // The holder may be a Python process, so its progress is seen only in the size of its files.
            let arrived = self.arrived(digest);
            if seen.is_none() {
                waiting();
            }
            if seen != Some(arrived) {
                (seen, since) = (Some(arrived), Instant::now());
            } else if since.elapsed() > stall {
                return Err(Failure::new(Class::Hub, format!("`{}` stays locked", path.display()))
                    .why(format!(
                        "another process downloads the same file and made no progress for {stall:?}"
                    ))
                    .help("end that process; the lock goes with it")
                    .into());
            }
            thread::sleep(LOCK_POLL);
        }
    }

    /// Bytes that all processes together have on disk for a blob; Python names its partial files
    /// `<digest>.<random>.incomplete`.
    fn arrived(&self, digest: &Digest) -> u64 {
        let entries = fs::read_dir(self.path("blobs")).into_iter().flatten();
        entries
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(digest.hex())
            })
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    fn unlockable(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        Failure::usage(format!(
            "the cache `{}` cannot be locked",
            self.hub.display()
        ))
        .why(format!("`{}`: {error}", path.display()))
        .help("set HF_HOME to a folder on a local disk")
        .into()
    }

    /// The error for a path of the cache that could not be written.
    pub(super) fn unwritable(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let why = format!("writing `{}`: {error}", path.display());
        if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) {
            return Failure::new(
                Class::Resources,
                format!("no space is left in the cache `{}`", self.hub.display()),
            )
            .why(why)
            .help(
                "free some space, or set HF_HOME to a folder on a larger disk; what has arrived is kept \
                 and the next run continues from it",
            )
            .into();
        }
        Failure::usage(format!(
            "the cache `{}` cannot be written",
            self.hub.display()
        ))
        .why(why)
        .help("set HF_HOME (or HF_HUB_CACHE) to a folder that you can write to")
        .into()
    }
}

/// The digest in the name of a blob; the length tells its kind.
fn digest_of_blob(target: &Path) -> Option<Digest> {
    let hex = target.file_name()?.to_str()?;
    if is_hex(hex, 64) {
        Some(Digest::Sha256(hex.to_owned()))
    } else if is_hex(hex, 40) {
        Some(Digest::GitBlob(hex.to_owned()))
    } else {
        None
    }
}

fn is_file_of(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(blob_id: &str) -> TreeEntry {
        TreeEntry {
            size: 1,
            blob_id: blob_id.to_owned(),
            lfs_sha256: None,
            lfs_size: None,
            xet_hash: None,
        }
    }

    #[test]
    fn refuses_a_listing_whose_paths_lead_outside() {
        let oid = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
        for path in ["../x", "/etc/passwd", "a/../../x", "", ".", "a\0b"] {
            let tree = Tree::new([(path.to_owned(), entry(oid))].into());
            assert!(tree.files().is_err(), "{path}");
        }
        let tree = Tree::new([("1_Pooling/config.json".to_owned(), entry(oid))].into());
        assert_eq!(tree.files().unwrap()[0].path, "1_Pooling/config.json");
    }

    #[test]
    fn refuses_a_digest_that_would_be_another_path() {
        for digest in ["", "../../x", "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391"] {
            let tree = Tree::new([("a".to_owned(), entry(digest))].into());
            assert!(tree.files().is_err(), "{digest}");
        }
    }

    #[test]
    fn reads_the_listing_that_python_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(folder.path(), "org/name");
        let commit = "b".repeat(40);
        let text = format!(
            r#"{{"format_version": 1, "files": {{
                "config.json": {{"size": 519, "blob_id": "{}"}},
                "model.safetensors": {{"size": 1234, "blob_id": "{}", "lfs_sha256": "{}",
                                       "lfs_size": 1234, "xet_hash": "{}"}}}}}}"#,
            "1".repeat(40),
            "2".repeat(40),
            "3".repeat(64),
            "4".repeat(64),
        );
        files::create_folder(&cache.path("trees")).unwrap();
        files::write(&cache.tree_path(&commit), text.as_bytes()).unwrap();
        let listed = cache.tree(&commit).unwrap().files().unwrap();
        assert_eq!(listed[1].digest, Some(Digest::Sha256("3".repeat(64))));
        assert_eq!(listed[1].bytes, 1234);
    }

    #[test]
    fn a_damaged_listing_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(folder.path(), "org/name");
        let commit = "b".repeat(40);
        files::create_folder(&cache.path("trees")).unwrap();
        for text in ["", "{", r#"{"format_version": 2, "files": {}}"#] {
            files::write(&cache.tree_path(&commit), text.as_bytes()).unwrap();
            assert!(cache.tree(&commit).is_none(), "{text}");
        }
    }
}
