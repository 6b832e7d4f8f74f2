//! The list of a model's files, as it is known before any file is downloaded.

/// The digest of a file's content, by which the Hub and the cache name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digest {
    /// The sha256 of the content; large files have it.
    Sha256(String),
    /// The git object id of the content; all other files have it.
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

/// An entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The path inside the repository or folder, with `/`.
    pub path: String,
    pub bytes: u64,
    /// Absent for the files of a folder, since it would take reading them whole.
    pub digest: Option<Digest>,
}

/// Whether a list has every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// It has: a name that is not in the list does not exist.
    Whole,
    /// It has the files in the cache, and the repository may have more. This happens offline, when neither
    /// neuronc nor a recent huggingface_hub has stored the list.
    Cached,
}
