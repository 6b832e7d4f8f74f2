//! A model's files: a [`Snapshot`] from the Hub, from the cache shared with Python, or from a folder.
//!
//! [`open`] lists the files of a [`ModelSource`] and [`Snapshot::fetch`] brings named files to disk; neither
//! reads their content. Requests and downloads are async inside and block for the caller.
//! Reading order: `snapshot.rs`, `repository.rs` (decides whether the Hub or the cache is asked), `cache.rs`
//! (the layout on disk, that of Python's huggingface_hub), `download.rs` (one file into the cache),
//! `remote.rs` (the requests), `error.rs` (what can go wrong, and what the user is told), `name.rs`,
//! `folder.rs`, `reach.rs` (whether a Hub answers at all).
//!
//! hf-hub 1.0 brings the content of a file, over HTTP or Xet. It does not resume, check what it received,
//! or know an offline mode, and its listing drops the sha256 of large files: these are done here.

mod access;
mod cache;
mod download;
mod error;
mod folder;
mod listing;
mod name;
mod progress;
mod reach;
mod remote;
mod repository;
mod snapshot;
mod source;

pub use access::{HubAccess, Patience, Secret};
pub use listing::{Digest, Listing, RemoteFile};
pub use progress::DownloadProgress;
pub use reach::{Reachability, reach};
pub use snapshot::{Snapshot, open};
pub use source::ModelSource;
