//! A model's files: a [`Snapshot`] from the Hub, from the cache shared with Python, or from a folder.
//!
//! [`open`] lists what a [`Source`] holds and [`Snapshot::fetch`] brings the named files to disk; neither
//! reads their content. Requests and downloads are async inside and block for the caller.
//! Reading order: this file, `repository.rs` (what is asked of the Hub and what is not), `cache.rs` (the
//! layout on disk, that of Python's huggingface_hub), `download.rs` (one file into the cache), `remote.rs`
//! (the requests), `trouble.rs` (what can go wrong on the way and what to tell the user), `name.rs`,
//! `folder.rs`, `reach.rs` (whether a Hub is there at all).
//!
//! hf-hub 1.0 brings the content of a file, over HTTP or Xet. It does not resume, check what it received,
//! or know an offline mode, and its listing drops the sha256 of large files: these are done here.

mod cache;
mod download;
mod folder;
mod name;
mod reach;
mod remote;
mod repository;
mod trouble;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::failure::{Class, Failure, nearest};
use crate::files;
use repository::{Repository, not_cached};

pub use reach::{Reach, reach};

/// The revision that is meant when none is named.
const MAIN: &str = "main";

/// How the Hub is reached and where its files are kept.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// `HF_ENDPOINT`; the public Hub when absent.
    pub endpoint: Option<String>,
    pub token: Option<Secret>,
    /// The `hub` folder of `HF_HOME`, or `HF_HUB_CACHE`.
    pub cache: PathBuf,
    /// Opens no socket: only what the cache holds is used.
    pub offline: bool,
    pub patience: Patience,
}

/// The bounds of every wait and retry.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The longest wait for a connection.
    pub connect: Duration,
    /// The longest silence of a server that is connected.
    pub silence: Duration,
    /// How often a request is sent before it counts as failed; a download counts anew after progress.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one.
    pub pause: Duration,
}

impl Patience {
    pub const STANDARD: Patience = Patience {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(30),
        attempts: 5,
        pause: Duration::from_millis(500),
    };
}

/// A token; its text leaves this module only in the header of a request to the endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The token in `text`, without the white space around it; none if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// For the header in which it is sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Hub {
        /// `org/name` or `name`.
        id: String,
        /// A branch, tag, pull request (`refs/pr/1`) or commit; `main` when absent.
        revision: Option<String>,
    },
    Folder(PathBuf),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Hub { id, revision: None } => write!(f, "{id}"),
            Source::Hub {
                id,
                revision: Some(revision),
            } => write!(f, "{id}@{revision}"),
            Source::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}

/// What identifies the content of a file; the Hub and the cache name files by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// The sha256 of the content: large files.
    Sha256(String),
    /// The git object id of the content: all others.
    GitBlob(String),
}

impl Digest {
    /// The lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Digest::Sha256(hex) | Digest::GitBlob(hex) => hex,
        }
    }
}

/// What is known of a file before it is downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The path inside the repository or folder, with `/`.
    pub path: String,
    pub bytes: u64,
    /// Absent for the files of a folder, whose content would have to be read for it.
    pub digest: Option<Digest>,
}

/// What [`Snapshot::files`] covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Every file there is: a name that is missing does not exist.
    Whole,
    /// What the cache holds; the repository may have more. Offline only, and only when neither neuronc
    /// nor a recent huggingface_hub has stored the listing.
    Cached,
}

/// The files of a model at one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub source: Source,
    /// The commit that the revision stood for; none for a folder.
    pub commit: Option<String>,
    /// Where the files lie, or will once they are fetched.
    pub folder: PathBuf,
    pub files: Vec<RemoteFile>,
    pub listing: Listing,
    repository: Option<Repository>,
}

/// What a download reports while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process is downloading the same file; what it gets is used.
    Waiting { file: &'a str },
    /// A file begins, of which `resumed_from` bytes are there already. Reported again, with 0, when it
    /// has to start over.
    Started {
        file: &'a str,
        bytes: u64,
        resumed_from: u64,
    },
    /// So many bytes more have arrived.
    Advanced { file: &'a str, bytes: u64 },
    /// The transfer broke and is tried again.
    Retrying { file: &'a str, reason: &'a str },
    /// All bytes are there and are compared with the digest.
    Checking { file: &'a str },
    /// The file is in its place.
    Finished { file: &'a str },
}

/// Finds out what `source` holds, and for the Hub at which commit, without any file content.
pub fn open(source: &Source, access: &HubAccess) -> Result<Snapshot> {
    match source {
        Source::Folder(folder) => Ok(Snapshot {
            source: source.clone(),
            commit: None,
            folder: folder.clone(),
            files: folder::list(folder)?,
            listing: Listing::Whole,
            repository: None,
        }),
        Source::Hub { id, revision } => {
            name::check_id(id)?;
            let revision = revision.as_deref().unwrap_or(MAIN);
            name::check_revision(revision)?;
            let repository = if access.offline {
                Repository::cached(id, revision, access)?
            } else {
                Repository::online(id, revision, access)?
            };
            let (files, listing) = repository.files()?;
            Ok(Snapshot {
                source: source.clone(),
                commit: Some(repository.commit().to_owned()),
                folder: repository.folder(),
                files,
                listing,
                repository: Some(repository),
            })
        }
    }
}

impl Snapshot {
    /// Whether the listing has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// What the listing says of a file.
    pub fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == name)
    }

    /// Whether the content of a file is on disk, so that fetching it needs no request.
    pub fn is_here(&self, name: &str) -> bool {
        match (&self.repository, self.file(name)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(repository), Some(file)) => repository.has(file),
        }
    }

    /// Brings the named files to disk and gives their paths, in the order of the names. Files that are
    /// there already cost nothing. Pickles are refused: opening one runs code.
    pub fn fetch(
        &self,
        names: &[&str],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<PathBuf>> {
        for name in names {
            name::check_not_pickle(name)?;
        }
        self.fetch_for_python(names, progress)
    }

    /// The same, pickles included: for an executor that opens them without running what is in them.
    pub fn fetch_for_python(
        &self,
        names: &[&str],
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<PathBuf>> {
        let wanted: Vec<&RemoteFile> = names
            .iter()
            .map(|name| self.file(name).ok_or_else(|| self.no_such_file(name)))
            .collect::<Result<_, _>>()?;
        if let Some(repository) = &self.repository {
            repository.fetch(&wanted, progress)?;
        }
        names
            .iter()
            .map(|name| files::inside(&self.folder, name))
            .collect()
    }

    /// The sha256 of a file's content: known beforehand for large files of the Hub, read from disk for
    /// all others, which must have been fetched.
    pub fn sha256(&self, name: &str) -> Result<String> {
        match self.file(name) {
            Some(RemoteFile {
                digest: Some(Digest::Sha256(hex)),
                ..
            }) => Ok(hex.clone()),
            Some(_) => files::sha256(&files::inside(&self.folder, name)?),
            None => Err(self.no_such_file(name).into()),
        }
    }

    fn no_such_file(&self, name: &str) -> Failure {
        let folder = self.folder.display();
        if self.listing == Listing::Cached {
            return not_cached(
                &format!("`{name}` of `{}`", self.source),
                &self.folder.join(name),
            );
        }
        let paths = self.files.iter().map(|file| file.path.as_str());
        let help = match nearest(name, paths) {
            Some(near) => format!("the nearest name is `{near}`"),
            None => format!(
                "it holds {} files, none of a similar name",
                self.files.len()
            ),
        };
        let (class, place) = match &self.commit {
            Some(commit) => (Class::Hub, format!("at commit {commit}")),
            None => (Class::Usage, format!("in `{folder}`")),
        };
        Failure::new(class, format!("`{}` has no file `{name}`", self.source))
            .why(format!("there is none {place}"))
            .help(help)
    }
}
