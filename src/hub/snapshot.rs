//! The files of a model at one commit: the list first, content on demand.

use std::path::PathBuf;

use anyhow::Result;

use super::access::HubAccess;
use super::listing::{Digest, Listing, RemoteFile};
use super::progress::DownloadProgress;
use super::repository::{Repository, not_cached};
use super::source::ModelSource;
use super::{folder, name};
use crate::failure::{Class, Failure, nearest};
use crate::files;

/// The revision that is meant when none is named.
const MAIN: &str = "main";

/// The files of a model at one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub source: ModelSource,
    /// The commit that the revision names; `None` for a folder.
    pub commit: Option<String>,
    /// Folder in which the files are, once they are fetched.
    pub folder: PathBuf,
    pub files: Vec<RemoteFile>,
    pub listing: Listing,
    repository: Option<Repository>,
}

/// Lists the files of `source`, for the Hub at the commit that the revision names now. Downloads no file.
pub fn open(source: &ModelSource, access: &HubAccess) -> Result<Snapshot> {
    match source {
        ModelSource::Folder(folder) => Ok(Snapshot {
            source: source.clone(),
            commit: None,
            folder: folder.clone(),
            files: folder::list(folder)?,
            listing: Listing::Whole,
            repository: None,
        }),
        ModelSource::Hub { id, revision } => {
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
    /// True when the list has a file of this name.
    pub fn has(&self, name: &str) -> bool {
        self.file(name).is_some()
    }

    /// The entry of a file in the list.
    pub fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.path == name)
    }

    /// True when the content of a file is on disk, so that fetching it needs no request.
    pub fn is_on_disk(&self, name: &str) -> bool {
        match (&self.repository, self.file(name)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(repository), Some(file)) => repository.has(file),
        }
    }

    /// Brings the named files to disk and returns their paths, in the order of `names`. Files on disk are
    /// not downloaded again. Pickles are refused, since opening one runs code.
    pub fn fetch(
        &self,
        names: &[&str],
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<Vec<PathBuf>> {
        for name in names {
            name::check_not_pickle(name)?;
        }
        self.fetch_for_python(names, progress)
    }

    /// Like [`Self::fetch`], but with pickles: for an executor that opens them without running the code in
    /// them.
    pub fn fetch_for_python(
        &self,
        names: &[&str],
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<Vec<PathBuf>> {
        let listed: Vec<&RemoteFile> = names
            .iter()
            .map(|name| self.file(name).ok_or_else(|| self.no_such_file(name)))
            .collect::<Result<_, _>>()?;
        if let Some(repository) = &self.repository {
            repository.fetch(&listed, progress)?;
        }
        names
            .iter()
            .map(|name| files::inside(&self.folder, name))
            .collect()
    }

    /// The sha256 of a file's content. The list has it for large files of the Hub; for all others it is
    /// computed from the file on disk, which must have been fetched.
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
