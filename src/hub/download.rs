//! One file from the Hub into the cache: resumed, counted, compared with its digest, then moved into place.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use sha1::{Digest as _, Sha1};
use tokio::time::sleep;

use super::cache::RepoCache;
use super::remote::Remote;
use super::trouble::{Asked, Trouble};
use super::{Digest, Progress, RemoteFile};
use crate::failure::{Class, Failure};
use crate::files;

/// So many bytes make an attempt count as progress, after which the attempts count anew.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Brings `file` of `commit` into the blobs of `cache`. Waits where another process is at it, and uses
/// what that one brought. What arrived before a failure is kept, and the next call continues from it.
pub(super) fn download(
    remote: &Remote,
    cache: &RepoCache,
    (commit, file): (&str, &RemoteFile),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let digest = file
        .digest
        .as_ref()
        .context("a file of the Hub has a digest")?;
    let name = file.path.as_str();
    let blob = cache.blob(digest);
    cache.create_folder(files::parent(&blob))?;
    let patience = remote.patience();
    let stall = (patience.connect + patience.silence) * patience.attempts;
    let waiting = &mut || progress(Progress::Waiting { file: name });
    let _lock = cache.lock(digest, stall, waiting)?;
    if cache.holds_blob(file) {
        progress(Progress::Finished { file: name });
        return Ok(());
    }
    let mut asked = remote.asked(cache.id(), commit);
    asked.file = Some(name);
    let mut transfer = Transfer {
        remote,
        cache,
        asked,
        file,
        partial: Partial::open(cache, digest)?,
        ranged: true,
    };
    let mut resumed = transfer.partial.bytes > 0;
    loop {
        resumed |= remote.run(transfer.receive(progress))?;
        progress(Progress::Checking { file: name });
        let actual = transfer.partial.digest(digest)?;
        if actual == digest.hex() {
            break;
        }
        transfer.partial.restart(cache)?;
        // What was there before may have been another's; what was received in one go was not.
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
    partial.sync_all().map_err(failed)?;
    fs::rename(&path, &blob).map_err(failed)?;
    progress(Progress::Finished { file: name });
    Ok(())
}

fn damaged(transfer: &Transfer<'_>, expected: &Digest, actual: &str) -> Failure {
    let _ = fs::remove_file(&transfer.partial.path);
    let Asked { endpoint, id, .. } = transfer.asked;
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

/// A file on its way.
struct Transfer<'a> {
    remote: &'a Remote,
    cache: &'a RepoCache,
    asked: Asked<'a>,
    file: &'a RemoteFile,
    partial: Partial,
    /// Whether the server heeds ranges, as far as is known.
    ranged: bool,
}

/// Why a stream ended before the file was complete.
enum Stop {
    Trouble(Trouble),
    Error(anyhow::Error),
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Trouble(trouble)
    }
}

impl Transfer<'_> {
    /// Receives until all bytes are there; says whether they came in more than one stream.
    async fn receive(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<bool> {
        let name = self.file.path.as_str();
        self.report_start(progress);
        let mut streams = 0;
        let mut attempt = 0;
        while self.partial.bytes < self.file.bytes {
            let before = self.partial.bytes;
            streams += 1;
            let trouble = match self.receive_stream(progress).await {
                Ok(()) => continue,
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::Trouble(trouble)) => trouble,
            };
            let gained = self.partial.bytes.saturating_sub(before);
            attempt = if gained >= PROGRESS_BYTES {
                1
            } else {
                attempt + 1
            };
            if !trouble.may_pass() || attempt >= self.remote.patience().attempts {
                return Err(self.given_up(&trouble).into());
            }
            let reason = trouble.reason();
            progress(Progress::Retrying {
                file: name,
                reason: &reason,
            });
            sleep(self.remote.pause(attempt, &trouble)).await;
        }
        Ok(streams > 1)
    }

    /// Appends one stream to what is there.
    async fn receive_stream(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Stop> {
        let total = self.file.bytes;
        if !self.ranged && self.partial.bytes > 0 {
            self.start_over(progress)?;
        }
        let from = self.partial.bytes;
        let range = (from > 0).then_some(from..total);
        let wanted = (self.asked.revision, self.file.path.as_str());
        let (announced, content) = self.remote.content(self.asked.id, wanted, range).await?;
        let mut content = pin!(content);
        match announced {
            Some(announced) if announced == total - from => {}
            _ if from > 0 => {
                // The whole file comes, not the rest of it.
                self.ranged = false;
                self.start_over(progress)?;
            }
            Some(announced) => {
                let what = format!("it announces {announced} bytes, the listing says {total}");
                return Err(Trouble::Foreign(what).into());
            }
            None => {}
        }
        while self.partial.bytes < total {
            let closed = || Trouble::Cut("the connection was closed early".to_owned());
            let chunk = content.next().await.ok_or_else(closed)??;
            let count = chunk.as_ref().len() as u64;
            if count > total - self.partial.bytes {
                let what = format!("it sends more than the {total} bytes of the listing");
                return Err(Trouble::Foreign(what).into());
            }
            self.partial
                .append(self.cache, chunk.as_ref())
                .map_err(Stop::Error)?;
            progress(Progress::Advanced {
                file: &self.file.path,
                bytes: count,
            });
        }
        Ok(())
    }

    fn start_over(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Stop> {
        self.partial.restart(self.cache).map_err(Stop::Error)?;
        self.report_start(progress);
        Ok(())
    }

    fn report_start(&self, progress: &mut dyn FnMut(Progress<'_>)) {
        progress(Progress::Started {
            file: &self.file.path,
            bytes: self.file.bytes,
            resumed_from: self.partial.bytes,
        });
    }

    /// The failure of a transfer, which says what is kept of it.
    fn given_up(&self, trouble: &Trouble) -> Failure {
        let Asked { endpoint, id, .. } = self.asked;
        let here = self.partial.bytes;
        if matches!(trouble, Trouble::Refused { .. } | Trouble::Foreign(_)) || here == 0 {
            return trouble.failure(&self.asked);
        }
        Failure::new(
            Class::Hub,
            format!("the download of `{}` of `{id}` broke off", self.file.path),
        )
        .why(format!(
            "{} (from {endpoint}; attempts without progress: {})",
            trouble.reason(),
            self.remote.patience().attempts
        ))
        .help(format!(
            "{here} of {} bytes are kept; run it again to continue from there",
            self.file.bytes
        ))
    }
}

/// The content that has arrived, in a file of its own.
struct Partial {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl Partial {
    /// Opens what an earlier download left, or begins anew. The digest tells later whether it was a part.
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

    /// The digest of what is on disk, of the same kind as `expected`.
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
