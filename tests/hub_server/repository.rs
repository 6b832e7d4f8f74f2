//! The commits of the repository that a [`super::HubServer`] serves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use neuronc::files;
use sha1::{Digest as _, Sha1};

/// Files with this ending are stored apart from git, as on the real Hub.
pub(super) const LFS_ENDING: &str = ".safetensors";

pub(super) struct Repository {
    pub(super) id: String,
    commits: BTreeMap<String, BTreeMap<String, Blob>>,
    head: String,
}

/// The content of a file and what the Hub says of it.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) content: Vec<u8>,
    /// The git object id, of the content or of the pointer to it.
    pub(super) oid: String,
    /// The sha256 of the content, where it is stored apart from git.
    pub(super) sha256: Option<String>,
}

impl Repository {
    pub(super) fn read(folder: &Path, id: &str) -> Self {
        let mut repository = Self {
            id: id.to_owned(),
            commits: BTreeMap::new(),
            head: String::new(),
        };
        repository.push(folder);
        repository
    }

    pub(super) fn push(&mut self, folder: &Path) -> String {
        let mut blobs = BTreeMap::new();
        collect(folder, "", &mut blobs);
        let text: String = blobs
            .iter()
            .map(|(path, blob)| format!("{path} {}\n", blob.oid))
            .collect();
        self.head = git_oid(text.as_bytes());
        self.commits.insert(self.head.clone(), blobs);
        self.head.clone()
    }

    pub(super) fn rename(&mut self, path: &str, listed: &str) {
        let blobs = self.commits.get_mut(&self.head).expect("a commit");
        let blob = blobs.remove(path).expect("a file of that path");
        blobs.insert(listed.to_owned(), blob);
    }

    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// The commit that a revision stands for, and its files.
    pub(super) fn at(&self, revision: &str) -> Option<(&str, &BTreeMap<String, Blob>)> {
        let commit = if revision == "main" {
            &self.head
        } else {
            revision
        };
        let (commit, blobs) = self.commits.get_key_value(commit)?;
        Some((commit, blobs))
    }

    /// The content behind a sha256, as the other host serves it.
    pub(super) fn stored(&self, sha256: &str) -> Option<&Blob> {
        let mut blobs = self.commits.values().flat_map(BTreeMap::values);
        blobs.find(|blob| blob.sha256.as_deref() == Some(sha256))
    }
}

impl Blob {
    fn new(path: &str, content: Vec<u8>) -> Self {
        if !path.ends_with(LFS_ENDING) {
            return Self {
                oid: git_oid(&content),
                content,
                sha256: None,
            };
        }
        let sha256 = files::sha256_of(&content);
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {}\n",
            content.len()
        );
        Self {
            oid: git_oid(pointer.as_bytes()),
            content,
            sha256: Some(sha256),
        }
    }

    /// What names the content: the entity tag, and the name of the blob in a cache.
    pub(super) fn etag(&self) -> &str {
        self.sha256.as_deref().unwrap_or(&self.oid)
    }
}

/// The id that git gives to a content.
fn git_oid(content: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(content);
    files::hex(&hasher.finalize())
}

fn collect(folder: &Path, prefix: &str, blobs: &mut BTreeMap<String, Blob>) {
    for name in files::list(folder).expect("a readable folder") {
        let path = folder.join(&name);
        let listed = format!("{prefix}{name}");
        if path.is_dir() {
            collect(&path, &format!("{listed}/"), blobs);
        } else {
            let content = fs::read(&path).expect("a readable file");
            blobs.insert(listed.clone(), Blob::new(&listed, content));
        }
    }
}
