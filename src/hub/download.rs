//! Downloads one file into the cache: it is resumed, compared with its digest, then moved into place.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use sha1::{Digest as _, Sha1};
use tokio::time::sleep;

use super::cache::RepoCache;
use super::error::{HubError, RequestSubject};
use super::listing::{Digest, RemoteFile};
use super::progress::DownloadProgress;
use super::remote::Remote;
use crate::failure::{Class, Failure};
use crate::files;

/// An attempt that brings this many bytes counts as progress, after which attempts are counted anew.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Downloads `file` of `commit` into the blobs of `cache`. If another process downloads it, waits for that
/// one and uses its result. Bytes that arrived before a failure are kept, and the next call continues.
pub(super) fn download(
    remote: &Remote,
    cache: &RepoCache,
    (commit, file): (&str, &RemoteFile),
    progress: &mut dyn FnMut(DownloadProgress<'_>),
) -> Result<()> {
    let digest = file
        .digest
        .as_ref()
        .context("a file of the Hub has a digest")?;
    let name = file.path.as_str();
    let blob = cache.blob(digest);
    cache.create_folder(files::parent(&blob))?;
    let patience = remote.patience();
    // As long as a process that obeys the same bounds may make no progress.
    let stall = (patience.connect + patience.silence) * patience.attempts;
    let waiting = &mut || progress(DownloadProgress::Waiting { file: name });
    let _lock = cache.lock(digest, stall, waiting)?;
    // The process that had the lock may have downloaded the file meanwhile.
    if cache.holds_blob(file) {
        progress(DownloadProgress::Finished { file: name });
        return Ok(());
    }
    let mut subject = remote.subject(cache.id(), commit);
    subject.file = Some(name);
    let mut transfer = Transfer {
        remote,
        cache,
        subject,
        file,
        partial: Partial::open(cache, digest)?,
        ranged: true,
    };
    let mut resumed = transfer.partial.bytes > 0;
    loop {
        resumed |= remote.run(transfer.receive(progress))?;
        progress(DownloadProgress::Checking { file: name });
        let actual = transfer.partial.digest(digest)?;
        if actual == digest.hex() {
            break;
        }
        transfer.partial.restart(cache)?;
        // Bytes of an earlier run may be those of another file, or of a server that ignored the range; they
        // get a second chance. A file that came in one stream is damaged on the way, which repeats.
        if !std::mem::take(&mut resumed) {
            return Err(damaged(&transfer, digest, &actual).into());
        }
    }
    let Partial {
        file: partial,
        path,
        ..
    } = transfer.partial;
    let failed = |error: io::Error| cache.unwritable(&path, &error);
    // The rename must not reach the disk before the content: after a power failure the blob would be taken
    // for complete.
    partial.sync_all().map_err(failed)?;
    fs::rename(&path, &blob).map_err(failed)?;
    progress(DownloadProgress::Finished { file: name });
    Ok(())
}

fn damaged(transfer: &Transfer<'_>, expected: &Digest, actual: &str) -> Failure {
    let _ = fs::remove_file(&transfer.partial.path);
    let RequestSubject { endpoint, id, .. } = transfer.subject;
    let kind = match expected {
        Digest::Sha256(_) => "sha256",
        Digest::GitBlob(_) => "git object id",
    };
    Failure::new(
        Class::Hub,
        format!("`{}` of `{id}` arrived damaged", transfer.file.path),
    )
    .why(format!(
        "its {kind} is {actual}, the listing says {}",
        expected.hex()
    ))
    .help(format!(
        "what arrived was deleted; run it again, and if it stays so, {endpoint} or a proxy on the way \
         changes the content"
    ))
}

/// A download under way.
struct Transfer<'a> {
    remote: &'a Remote,
    cache: &'a RepoCache,
    subject: RequestSubject<'a>,
    file: &'a RemoteFile,
    partial: Partial,
    /// False once the server has sent a whole file where a range was asked for.
    ranged: bool,
}

/// The reason why a stream ended before the file was complete.
enum TransferError {
    /// On the side of the server; the next attempt may succeed.
    Hub(HubError),
    /// On our side, such as a full disk.
    Local(anyhow::Error),
}

impl From<HubError> for TransferError {
    fn from(error: HubError) -> Self {
        TransferError::Hub(error)
    }
}

impl Transfer<'_> {
    /// Receives until all bytes are there; true when they came in more than one stream.
    async fn receive(&mut self, progress: &mut dyn FnMut(DownloadProgress<'_>)) -> Result<bool> {
        let name = self.file.path.as_str();
        self.report_start(progress);
        let mut streams = 0;
        let mut attempt = 0;
        while self.partial.bytes < self.file.bytes {
            let before = self.partial.bytes;
            streams += 1;
            let error = match self.receive_stream(progress).await {
                Ok(()) => continue,
                Err(TransferError::Local(error)) => return Err(error),
                Err(TransferError::Hub(error)) => error,
            };
            let gained = self.partial.bytes.saturating_sub(before);
            attempt = if gained >= PROGRESS_BYTES {
                1
            } else {
                attempt + 1
            };
            if !error.may_pass() || attempt >= self.remote.patience().attempts {
                return Err(self.given_up(&error).into());
            }
            let reason = error.reason();
            progress(DownloadProgress::Retrying {
                file: name,
                reason: &reason,
            });
            sleep(self.remote.pause(attempt, &error)).await;
        }
        Ok(streams > 1)
    }

    /// Appends the bytes of one stream.
    async fn receive_stream(
        &mut self,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), TransferError> {
        let total = self.file.bytes;
        if !self.ranged && self.partial.bytes > 0 {
            self.start_over(progress)?;
        }
        let from = self.partial.bytes;
        let range = (from > 0).then_some(from..total);
        let path = (self.subject.revision, self.file.path.as_str());
        let (announced, content) = self.remote.content(self.subject.id, path, range).await?;
        let mut content = pin!(content);
        match announced {
            Some(announced) if announced == total - from => {}
            _ if from > 0 => {
                // The server ignored the range and sends the file from its beginning.
                self.ranged = false;
                self.start_over(progress)?;
            }
            Some(announced) => {
                let what = format!("it announces {announced} bytes, the listing says {total}");
                return Err(HubError::Foreign(what).into());
            }
            None => {}
        }
        while self.partial.bytes < total {
            let closed = || HubError::Cut("the connection was closed early".to_owned());
            let chunk = content.next().await.ok_or_else(closed)??;
            let count = chunk.as_ref().len() as u64;
            if count > total - self.partial.bytes {
                let what = format!("it sends more than the {total} bytes of the listing");
                return Err(HubError::Foreign(what).into());
            }
            self.partial
                .append(self.cache, chunk.as_ref())
                .map_err(TransferError::Local)?;
            progress(DownloadProgress::Advanced {
                file: &self.file.path,
                bytes: count,
            });
        }
        Ok(())
    }

    fn start_over(
        &mut self,
        progress: &mut dyn FnMut(DownloadProgress<'_>),
    ) -> Result<(), TransferError> {
        self.partial
            .restart(self.cache)
            .map_err(TransferError::Local)?;
        self.report_start(progress);
        Ok(())
    }

    fn report_start(&self, progress: &mut dyn FnMut(DownloadProgress<'_>)) {
        progress(DownloadProgress::Started {
            file: &self.file.path,
            bytes: self.file.bytes,
            resumed_from: self.partial.bytes,
        });
    }

    /// The failure of a transfer, which says how many bytes are kept.
    fn given_up(&self, error: &HubError) -> Failure {
        let RequestSubject { endpoint, id, .. } = self.subject;
        let here = self.partial.bytes;
        if matches!(error, HubError::Refused { .. } | HubError::Foreign(_)) || here == 0 {
            return error.failure(&self.subject);
        }
        Failure::new(
            Class::Hub,
            format!("the download of `{}` of `{id}` broke off", self.file.path),
        )
        .why(format!(
            "{} (from {endpoint}; attempts without progress: {})",
            error.reason(),
            self.remote.patience().attempts
        ))
        .help(format!(
            "{here} of {} bytes are kept; run it again to continue from there",
            self.file.bytes
        ))
    }
}

/// The part of the content that has arrived, in a file of its own.
struct Partial {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Partial {
    /// Opens the file that an earlier download left, or an empty one. Only the digest of the complete file
    /// shows whether it was a part of it.
    fn open(cache: &RepoCache, digest: &Digest) -> Result<Self> {
        let path = cache.partial(digest);
        let opened = File::options().create(true).append(true).open(&path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| cache.unwritable(&path, &error))?;
        Ok(Self { file, path, bytes })
    }

    fn restart(&mut self, cache: &RepoCache) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(|error| cache.unwritable(&self.path, &error))?;
        self.bytes = 0;
        Ok(())
    }

    fn append(&mut self, cache: &RepoCache, chunk: &[u8]) -> Result<()> {
        self.file
            .write_all(chunk)
            .map_err(|error| cache.unwritable(&self.path, &error))?;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// The digest of the bytes on disk, of the same kind as `expected`.
    fn digest(&self, expected: &Digest) -> Result<String> {
        match expected {
            Digest::Sha256(_) => files::sha256(&self.path),
            Digest::GitBlob(_) => self.git_blob(),
        }
    }

    /// The id that git gives to a file: the sha1 of a header and the content.
    fn git_blob(&self) -> Result<String> {
        let context = || format!("reading `{}`", self.path.display());
        let mut file = File::open(&self.path).with_context(context)?;
        let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", self.bytes));
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = file.read(&mut buffer).with_context(context)?;
            if count == 0 {
                return Ok(files::hex(&hasher.finalize()));
            }
            hasher.update(&buffer[..count]);
        }
    }
}
