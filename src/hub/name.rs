//! Rules for model ids, revisions, commits and file names, some of which become paths in the cache.

use std::path::{Component, Path};

use anyhow::Result;

use crate::failure::Failure;

/// The Hub's bound on a part of an id.
const PART_LENGTH_MAX: usize = 96;

/// Bound on a revision, which becomes a path in the cache.
const REVISION_LENGTH_MAX: usize = 250;

/// Formats that run code when they are opened.
const PICKLES: [&str; 7] = ["bin", "pt", "pth", "pkl", "pickle", "ckpt", "joblib"];

/// Refuses ids that the Hub and Python's huggingface_hub do not accept.
pub(super) fn check_id(id: &str) -> Result<()> {
    let parts: Vec<&str> = id.split('/').collect();
    let valid = parts.len() <= 2
        && parts.iter().all(|part| is_id_part(part))
        && !id.contains("--")
        && !id.contains("..")
        && !id.ends_with(".git");
    if valid {
        return Ok(());
    }
    Err(Failure::usage(format!("`{}` is not a model id", id.escape_debug()))
        .why(
            "an id is `name` or `org/name`: letters, digits, `-`, `_` and `.`, neither beginning nor \
             ending with `-` or `.`, without `--` and `..`",
        )
        .help("a folder is named by a path that exists")
        .into())
}

fn is_id_part(part: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| !matches!(byte, b'-' | b'.'));
    let bytes = part.as_bytes();
    part.len() <= PART_LENGTH_MAX
        && edge(bytes.first().copied())
        && edge(bytes.last().copied())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Refuses a revision that could not be the name of a branch, a tag or a commit.
pub(super) fn check_revision(revision: &str) -> Result<()> {
    let plain = is_plain(revision)
        && revision.len() <= REVISION_LENGTH_MAX
        && !revision.contains("..")
        && !revision
            .chars()
            .any(|c| c.is_control() || c.is_whitespace());
    if plain {
        return Ok(());
    }
    Err(
        Failure::usage(format!("`{}` is not a revision", revision.escape_debug()))
            .help("a revision is a branch, a tag, `refs/pr/N` or a commit of 40 digits")
            .into(),
    )
}

/// True when `text` is a full commit id. Unlike a branch, it always names the same files.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// True when `text` is `length` lower-case hexadecimal digits.
pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// True when `path` is relative and without detours, so that joined to a folder it stays inside it.
pub(super) fn is_plain(path: &str) -> bool {
    let mut parts = 0;
    for part in Path::new(path).components() {
        if !matches!(part, Component::Normal(_)) {
            return false;
        }
        parts += 1;
    }
    parts > 0 && path.split('/').count() == parts && !path.contains('\0')
}

/// Refuses files that run code when they are opened.
pub(super) fn check_not_pickle(name: &str) -> Result<()> {
    let extension = Path::new(name).extension().and_then(|end| end.to_str());
    let Some(extension) = extension.map(str::to_lowercase) else {
        return Ok(());
    };
    if !PICKLES.contains(&extension.as_str()) {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` is not downloaded or read"))
        .why("it is a pickle, and opening a pickle runs the code in it; neuronc reads safetensors")
        .help(
            "convert the model with https://huggingface.co/spaces/safetensors/convert and pass the \
             pull request it opens: --revision refs/pr/N",
        )
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_ids_that_python_accepts() {
        for id in ["gpt2", "org/name", "Foo-BAR/foo.bar_1", "123", "_a/b_"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        let long = "a".repeat(97);
        for id in [
            "", "/", "a/", "/a", "a/b/c", ".a", "a.", "-a", "a-", "a--b", "a..b", "../a", "a/..",
            "a.git", "a b", "a\nb", "ä", "a/b?c", &long,
        ] {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_revision_stays_below_refs() {
        for revision in ["main", "v1.0", "refs/pr/1", "feature/x", &"a".repeat(40)] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in [
            "", "..", "../main", "/main", "a/../b", "a//b", "a/", "./a", "a b", "a\0",
        ] {
            assert!(check_revision(revision).is_err(), "{revision}");
        }
    }

    #[test]
    fn only_forty_lower_case_digits_are_a_commit() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("0123456"));
        assert!(!is_commit(&"A".repeat(40)));
    }

    #[test]
    fn pickles_are_refused_by_extension() {
        for name in ["pytorch_model.bin", "a/model.PT", "x.pkl", "last.ckpt"] {
            assert!(check_not_pickle(name).is_err(), "{name}");
        }
        for name in ["model.safetensors", "config.json", "vocab.txt", "bin"] {
            assert!(check_not_pickle(name).is_ok(), "{name}");
        }
    }
}
