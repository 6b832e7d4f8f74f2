//! The folders that neuronc writes to, and the room in them.

use std::path::PathBuf;

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;

/// A folder that neuronc writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What it is for.
    pub purpose: &'static str,
    /// The variable that names another one.
    pub variable: &'static str,
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Folder {
    #[serde(flatten)]
    pub place: Place,
    /// What this user may still write there; for a folder that is not there yet, where it would be.
    pub free_bytes: Option<u64>,
    pub writable: bool,
}

pub fn look(places: &[Place]) -> Vec<Folder> {
    places.iter().map(folder).collect()
}

fn folder(place: &Place) -> Folder {
    let existing = place.path.ancestors().find(|folder| folder.is_dir());
    let room = existing.and_then(|folder| statvfs(folder).ok());
    Folder {
        place: place.clone(),
        free_bytes: room.map(|room| room.f_bavail.saturating_mul(room.f_frsize)),
        writable: existing.is_some_and(|folder| access(folder, Access::WRITE_OK).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: impl Into<PathBuf>) -> Folder {
        folder(&Place {
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
        assert_eq!(found.place.path, above.path().join("a/b"));
    }

    #[test]
    fn there_is_no_room_where_nothing_is_stored_or_nothing_exists() {
        assert_eq!(at("/proc").free_bytes, Some(0));
        assert!(!at("relative/to/nothing").writable);
    }
}
