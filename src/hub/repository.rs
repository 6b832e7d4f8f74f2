//! One repository of the Hub at one commit, with the decision whether the Hub or the cache is asked.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::access::HubAccess;
use super::cache::{RepoCache, Tree};
use super::download;
use super::listing::{Listing, RemoteFile};
use super::name::is_commit;
use super::progress::DownloadProgress;
use super::remote::Remote;
use crate::failure::{Class, Failure};

/// A repository at one commit.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    revision: String,
    commit: String,
    cache: RepoCache,
    /// The list of files; absent where the Hub is not asked and the cache has none.
    tree: Option<Tree>,
    access: HubAccess,
}

impl Repository {
    /// The repository as the Hub has it. The list of a commit never changes, so it is requested only where
    /// the cache does not have it.
    pub(super) fn online(id: &str, revision: &str, access: &HubAccess) -> Result<Self> {
        let cache = RepoCache::new(&access.cache, id);
        let (commit, tree) = match cache.tree(revision) {
            Some(tree) if is_commit(revision) => (revision.to_owned(), tree),
            _ => {
                let remote = Remote::new(access)?;
                let commit = if is_commit(revision) {
                    revision.to_owned()
                } else {
                    remote.commit(id, revision, cache.commit(revision).as_deref())?
                };
                let tree = match cache.tree(&commit) {
                    Some(tree) => tree,
                    None => remote.tree(id, &commit)?,
                };
                (commit, tree)
            }
        };
        Ok(Self {
            revision: revision.to_owned(),
            commit,
            cache,
            tree: Some(tree),
            access: access.clone(),
        })
    }

    /// The repository as the cache has it.
    pub(super) fn cached(id: &str, revision: &str, access: &HubAccess) -> Result<Self> {
        let cache = RepoCache::new(&access.cache, id);
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            let place = cache.ref_path(revision);
            cache
                .commit(revision)
                .ok_or_else(|| not_cached(&format!("`{id}`"), &place))?
        };
        Ok(Self {
            revision: revision.to_owned(),
            tree: cache.tree(&commit),
            commit,
            cache,
            access: access.clone(),
        })
    }

    pub(super) fn commit(&self) -> &str {
        &self.commit
    }

    /// Folder in which the files are, once they are fetched.
    pub(super) fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// The list of files, and whether it has all.
    pub(super) fn files(&self) -> Result<(Vec<RemoteFile>, Listing)> {
        let id = self.cache.id();
        if let Some(tree) = &self.tree {
            let files = tree.files().map_err(|why| {
                Failure::new(Class::Hub, format!("the listing of `{id}` cannot be used")).why(why)
            })?;
            return Ok((files, Listing::Whole));
        }
        let files = self.cache.scan(&self.commit)?;
        if files.is_empty() {
            let what = format!("`{id}` at `{}`", self.revision);
            return Err(not_cached(&what, &self.folder()).into());
        }
        Ok((files, Listing::Cached))
    }

    /// True when a file needs no download.
    pub(super) fn has(&self, file: &RemoteFile) -> bool {
        self.cache.holds(&self.commit, file) || self.cache.holds_blob(file)
    }

    /// Brings these files into the snapshot.
    pub(super) fn fetch(
        &self,
        wanted: &[&RemoteFile],
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<()> {
        let mut missing = Vec::new();
        for file in wanted {
            if !self.has(file) {
                missing.push(*file);
            } else if !self.cache.holds(&self.commit, file) {
                self.cache.link(&self.commit, file)?;
            }
        }
        if let Some(first) = missing.first() {
            if self.access.offline {
                let what = format!("`{}` of `{}`", first.path, self.cache.id());
                return Err(not_cached(&what, &self.folder().join(&first.path)).into());
            }
            let remote = Remote::new(&self.access)?;
            for file in &missing {
                download::download(&remote, &self.cache, (&self.commit, file), progress)?;
                self.cache.link(&self.commit, file)?;
            }
        }
        let stored = self.store_metadata();
        // A read-only cache that has every file is enough; its missing metadata does no harm.
        if missing.is_empty() { Ok(()) } else { stored }
    }

    /// Stores the commit of the revision and the list of its files, as Python does.
    fn store_metadata(&self) -> Result<()> {
        let Some(tree) = &self.tree else {
            return Ok(());
        };
        self.cache.store_commit(&self.revision, &self.commit)?;
        self.cache.store_tree(&self.commit, tree)
    }
}

/// The failure for something that only the Hub has while it is not asked.
pub(super) fn not_cached(what: &str, place: &Path) -> Failure {
    Failure::new(
        Class::Hub,
        format!("{what} is not in the cache, and the Hub is not asked"),
    )
    .why(format!(
        "looked for `{}`; offline by --offline or HF_HUB_OFFLINE",
        place.display()
    ))
    .help("run once without --offline, or name a folder that holds the model")
}
