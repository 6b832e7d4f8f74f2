//! Examines the folders that neuronc writes to, and the space in them.

use std::path::PathBuf;

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

/// A folder that neuronc writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedFolder {
    /// Purpose in words, such as `models`.
    pub purpose: &'static str,
    /// The environment variable that selects another folder.
    pub variable: &'static str,
    pub path: PathBuf,
}

/// A folder with its free space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderFacts {
    #[serde(flatten)]
    pub named: NamedFolder,
    /// Free bytes for this user. For a folder that does not exist yet, those of the nearest one above.
    pub free_bytes: Option<u64>,
    pub writable: bool,
}

pub fn examine(folders: &[NamedFolder]) -> Vec<FolderFacts> {
    folders.iter().map(folder).collect()
}

fn folder(named: &NamedFolder) -> FolderFacts {
    let existing = named.path.ancestors().find(|folder| folder.is_dir());
    let room = existing.and_then(|folder| statvfs(folder).ok());
    FolderFacts {
        named: named.clone(),
        free_bytes: room.map(|room| room.f_bavail.saturating_mul(room.f_frsize)),
        writable: existing.is_some_and(|folder| access(folder, Access::WRITE_OK).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: impl Into<PathBuf>) -> FolderFacts {
        folder(&NamedFolder {
            purpose: "x",
            variable: "X",
            path: path.into(),
        })
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        let above = tempfile::tempdir().unwrap();
        let found = at(above.path().join("a/b"));
        assert!(found.writable && found.free_bytes.is_some());
        assert_eq!(found.named.path, above.path().join("a/b"));
    }

    #[test]
    fn there_is_no_room_where_nothing_is_stored_or_nothing_exists() {
        assert_eq!(at("/proc").free_bytes, Some(0));
        assert!(!at("relative/to/nothing").writable);
    }
}
