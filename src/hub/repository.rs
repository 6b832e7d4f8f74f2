//! One repository of the Hub at one commit: what is asked of the Hub, what the cache answers.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::cache::{RepoCache, Tree};
use super::name::is_commit;
use super::remote::Remote;
use super::{HubAccess, Listing, Progress, RemoteFile, download};
use crate::failure::{Class, Failure};

#[derive(Debug, Clone)]
pub(super) struct Repository {
    revision: String,
    commit: String,
    cache: RepoCache,
    /// The listing; none where the Hub was not asked and the cache has none.
    tree: Option<Tree>,
    access: HubAccess,
}

impl Repository {
    /// The repository as the Hub has it. What never changes, a commit and its listing, is asked for only
    /// where the cache does not have it.
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

    /// Where the files lie, or will once they are fetched.
    pub(super) fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }

    /// The files, and whether these are all.
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

    /// Whether a file needs no download.
    pub(super) fn has(&self, file: &RemoteFile) -> bool {
        self.cache.holds(&self.commit, file) || self.cache.holds_blob(file)
    }

    /// Brings these files into the snapshot.
    pub(super) fn fetch(
        &self,
        wanted: &[&RemoteFile],
        progress: &mut dyn FnMut(Progress<'_>),
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
        let noted = self.note();
        // Where nothing was downloaded the cache may be read-only, and the notes are no loss.
        if missing.is_empty() { Ok(()) } else { noted }
    }

    /// Notes which commit the revision stood for and what it holds, as Python does.
    fn note(&self) -> Result<()> {
        let Some(tree) = &self.tree else {
            return Ok(());
        };
        self.cache.note_commit(&self.revision, &self.commit)?;
        self.cache.note_tree(&self.commit, tree)
    }
}

/// The failure of looking for something that only the Hub has.
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
