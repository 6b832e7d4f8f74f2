//! Reads and writes files, with errors that name the path.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// Largest size in bytes of a file that is read whole into memory.
const WHOLE_FILE_BYTES_MAX: u64 = 256 << 20;

/// The bytes of a file of at most [`WHOLE_FILE_BYTES_MAX`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("reading `{}`", path.display());
    let file = File::open(path).with_context(context)?;
    let bytes = file.metadata().with_context(context)?.len();
    if bytes > WHOLE_FILE_BYTES_MAX {
        return Err(Failure::usage(format!(
            "`{}` is too large: {bytes} bytes, at most {WHOLE_FILE_BYTES_MAX} are read",
            path.display()
        ))
        .into());
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(WHOLE_FILE_BYTES_MAX)
        .read_to_end(&mut content)
        .with_context(context)?;
    Ok(content)
}

/// The text of a UTF-8 file.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).with_context(|| format!("`{}` is not UTF-8", path.display()))
}

/// Parses a JSON file.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read(path)?)
        .with_context(|| format!("`{}` is not the JSON that was expected", path.display()))
}

/// Parses YAML text; the error shows line, column and the offending key. `origin` is the path or name that it
/// names.
pub fn parse_yaml<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    serde_yaml::from_str(text).map_err(|error| not_valid(origin, &error))
}

/// The keys of a YAML mapping, with values of whatever types they are. `on` and `off` are texts.
pub fn parse_yaml_keys(text: &str, origin: &str) -> Result<Map<String, Value>> {
    let options = serde_yaml::options! { strict_booleans: true };
    let parsed = serde_yaml::from_str_with_options(text, options);
    parsed.map_err(|error| not_valid(origin, &error))
}

fn not_valid(origin: &str, error: &serde_yaml::Error) -> anyhow::Error {
    Failure::usage(format!("`{origin}` is not valid"))
        .why(said_of(origin, &error.to_string()))
        .into()
}

/// Replaces the parser's words for Rust types by words for files.
fn said_of(origin: &str, error: &str) -> String {
    let mut said = error
        .trim_start_matches("error: ")
        .replace("<input>", origin);
    for (of_rust, plain) in [
        ("invalid u16", "not a whole number from 0 to 65535"),
        ("invalid u32", "not a whole number of at least 0"),
        ("invalid u64", "not a whole number of at least 0"),
        ("invalid usize", "not a whole number of at least 0"),
        ("a nonzero usize", "at least 1"),
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
    ] {
        said = said.replace(of_rust, plain);
    }
    said
}

/// Writes a new file or overwrites an old one, not atomically: for files in a folder that is itself moved into
/// place later.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("creating `{}`", path.display()))?;
    file.write_all(content)
        .with_context(|| format!("writing `{}`", path.display()))
}

/// Fails where [`write`] would fail, without writing, so that an error shows before long work.
pub fn check_writable(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    let opened = File::options().create(true).append(true).open(path);
    opened.with_context(|| format!("creating `{}`", path.display()))?;
    if is_new {
        fs::remove_file(path).with_context(|| format!("removing `{}`", path.display()))
    } else {
        Ok(())
    }
}

/// Writes a value as indented JSON with a final newline.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)
        .with_context(|| format!("writing `{}`", path.display()))?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// A temporary folder with these files, given by path and content.
#[cfg(test)]
pub fn folder_of(texts: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in texts {
        let path = folder.path().join(path);
        create_folder(parent(&path)).unwrap();
        write(&path, text.as_bytes()).unwrap();
    }
    folder
}

/// Creates a folder and the missing ones above it.
pub fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating the folder `{}`", path.display()))
}

/// Copies a file, following links.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("copying `{}` to `{}`", from.display(), to.display()))
}

/// The names of the entries of a folder, sorted.
pub fn list(folder: &Path) -> Result<Vec<String>> {
    let context = || format!("listing `{}`", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let name = entry.with_context(context)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The sha256 of a file as lower-case hexadecimal digits; reads in constant memory.
pub fn sha256(path: &Path) -> Result<String> {
    let context = || format!("reading `{}`", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(context)?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// The sha256 of bytes as lower-case hexadecimal digits.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The folder that holds `path`; the current one for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The path of `name` below `folder`. Names that could lead outside are refused, since manifests and indexes
/// come from other people.
pub fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let relative = Path::new(name);
    let plain = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if name.is_empty() || !plain {
        return Err(Failure::usage(format!(
            "`{name}` is not a plain path inside `{}`",
            folder.display()
        ))
        .into());
    }
    Ok(folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "reading `/no/such/file`");
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let folder = Path::new("/bundle");
        assert!(inside(folder, "graphs/b1_s32.pt").is_ok());
        for name in ["", "../secret", "/etc/passwd", "graphs/../../x"] {
            assert!(inside(folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn hashes_bytes_and_files_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        write(&path, b"abc").unwrap();
        assert_eq!(sha256(&path).unwrap(), sha256_of(b"abc"));
        assert!(sha256_of(b"abc").starts_with("ba7816bf"));
    }
}
