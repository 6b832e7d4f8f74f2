//! Examines the Neuron runtime library, through which programs talk to the driver.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files;
use crate::profile::ChipProfile;

/// A chain of more symbolic links than this is not followed.
const LINKS_MAX: usize = 16;

/// A runtime library: where it should be, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuntimeLibrary {
    /// The path that the profile gives.
    pub path: PathBuf,
    /// The file at the end of the links; absent where there is none.
    pub file: Option<PathBuf>,
    /// The version in the name of that file, such as `2.33.10.0`.
    pub version: Option<String>,
}

/// Examines the libraries that `chips` take from the machine, each once.
pub fn examine(root: &Path, chips: &[ChipProfile]) -> Vec<RuntimeLibrary> {
    let named = chips.iter().filter_map(|chip| of_machine(chip));
    let mut paths: Vec<&Path> = named.collect();
    paths.sort_unstable();
    paths.dedup();
    paths.into_iter().map(|path| library(path, root)).collect()
}

/// Path of the chip's runtime library; `None` where the library comes with a Python environment.
pub fn of_machine(chip: &ChipProfile) -> Option<&Path> {
    let path = Path::new(chip.sdk.as_ref()?.runtime_library.as_ref()?);
    path.is_absolute().then_some(path)
}

/// The library at `path` on a machine whose files lie below `root`.
pub fn library(path: &Path, root: &Path) -> RuntimeLibrary {
    let file = file(&below(root, path), root);
    RuntimeLibrary {
        path: path.to_owned(),
        version: file.as_deref().and_then(version),
        file,
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The file at the end of the links; those that are absolute count from `root`.
fn file(path: &Path, root: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let kind = fs::symlink_metadata(&path).ok()?.file_type();
        if !kind.is_symlink() {
            return kind.is_file().then_some(path);
        }
        let target = fs::read_link(&path).ok()?;
        path = if target.is_absolute() {
            below(root, &target)
        } else {
            files::parent(&path).join(target)
        };
    }
    None
}

/// `2.33.10.0` of `libnrt.so.2.33.10.0`; `None` for `libnrt.so.1`, whose `1` is not a version but the
/// name of the interface.
fn version(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let (_, version) = name.split_once(".so.")?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = version.split('.').collect();
    (parts.len() > 1 && parts.iter().all(|part| is_number(part))).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_version_is_in_the_name_of_the_file_behind_the_links() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("opt/lib");
        files::create_folder(&folder).unwrap();
        files::write(&folder.join("libnrt.so.2.33.10.0"), b"").unwrap();
        symlink("/opt/lib/libnrt.so.2", folder.join("libnrt.so.1")).unwrap();
        symlink("libnrt.so.2.33.10.0", folder.join("libnrt.so.2")).unwrap();
        let found = library(Path::new("/opt/lib/libnrt.so.1"), root.path());
        assert_eq!(found.version.as_deref(), Some("2.33.10.0"));
        assert_eq!(found.file, Some(folder.join("libnrt.so.2.33.10.0")));
    }

    #[test]
    fn a_link_to_nothing_or_to_itself_is_not_a_library() {
        let root = tempfile::tempdir().unwrap();
        symlink("libnrt.so.2.1.0.0", root.path().join("gone.so.1")).unwrap();
        symlink("round.so.1", root.path().join("round.so.1")).unwrap();
        for name in ["/gone.so.1", "/round.so.1", "/none.so.1"] {
            assert_eq!(library(Path::new(name), root.path()).file, None, "{name}");
        }
    }

    #[test]
    fn a_library_without_a_version_in_its_name_has_none() {
        assert_eq!(version(Path::new("/x/libnrt.so.1")), None);
        assert_eq!(version(Path::new("/x/libnrt.so.2.x")), None);
        let named = version(Path::new("/x/libnrt.so.2.12.23.0"));
        assert_eq!(named.as_deref(), Some("2.12.23.0"));
    }
}
