//! The place that a model's files come from.

use std::fmt;
use std::path::PathBuf;

/// A repository of the Hub, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    Hub {
        /// `org/name` or `name`.
        id: String,
        /// A branch, tag, pull request (`refs/pr/1`) or commit; `main` when absent.
        revision: Option<String>,
    },
    Folder(PathBuf),
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelSource::Hub { id, revision: None } => write!(f, "{id}"),
            ModelSource::Hub {
                id,
                revision: Some(revision),
            } => write!(f, "{id}@{revision}"),
            ModelSource::Folder(folder) => write!(f, "{}", folder.display()),
        }
    }
}
