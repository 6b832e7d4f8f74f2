//! Lists the files of a model in a plain folder.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::listing::RemoteFile;
use crate::failure::Failure;

/// Models keep their files in the folder itself and at most two levels below it (`1_Pooling/config.json`).
const DEPTH_MAX: usize = 3;

/// A folder with more files than this is not a model.
const FILES_MAX: usize = 10_000;

/// The files of `folder`, sorted by path; hidden ones are left out.
pub(super) fn list(folder: &Path) -> Result<Vec<RemoteFile>> {
    if !folder.is_dir() {
        let why = if folder.exists() {
            "it is a file"
        } else {
            "it does not exist"
        };
        return Err(
            Failure::usage(format!("`{}` is not a folder", folder.display()))
                .why(why)
                .help("name the folder that holds `config.json`, or a model id like `org/name`")
                .into(),
        );
    }
    let mut found = Vec::new();
    collect(folder, "", DEPTH_MAX, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<RemoteFile>) -> Result<()> {
    let context = || format!("listing `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // A broken link cannot be read, so it is not part of the model.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if metadata.is_dir() && depth > 1 {
            collect(&entry.path(), &format!("{prefix}{name}/"), depth - 1, found)?;
        } else if metadata.is_file() {
            found.push(RemoteFile {
                path: format!("{prefix}{name}"),
                bytes: metadata.len(),
                digest: None,
            });
        }
        if found.len() > FILES_MAX {
            return Err(Failure::usage(format!(
                "`{}` holds more than {FILES_MAX} files",
                folder.display()
            ))
            .help("name the folder of one model, the one that holds `config.json`")
            .into());
        }
    }
    Ok(())
}
