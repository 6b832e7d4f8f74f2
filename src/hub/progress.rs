//! Events of a download, for progress bars.

/// An event of a download; each names its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadProgress<'a> {
    /// Another process downloads the same file; its result is used.
    Waiting { file: &'a str },
    /// A file begins, of which `resumed_from` bytes were downloaded earlier. Sent again, with 0, when the
    /// download has to start over.
    Started {
        file: &'a str,
        bytes: u64,
        resumed_from: u64,
    },
    /// This number of further bytes has arrived.
    Advanced { file: &'a str, bytes: u64 },
    /// The transfer failed and is tried again.
    Retrying { file: &'a str, reason: &'a str },
    /// All bytes have arrived and are compared with the digest.
    Checking { file: &'a str },
    /// The file is in the cache.
    Finished { file: &'a str },
}
