//! A bundle in the making: a hidden folder beside its place, moved there as a whole.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::bundle::manifest::{MANIFEST_FILE, Manifest, SealedFile};
use crate::bundle::{Bundle, Check};
use crate::cleanup::{self, Registration};
use crate::failure::Failure;
use crate::files;

/// What happens to something that is already at the place of a new bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is left alone and the new bundle is refused.
    Keep,
    /// A bundle is replaced; anything else is left alone all the same.
    ReplaceBundle,
}

/// The start of the names of drafts; the process id follows.
const PREFIX: &str = ".neuronc-draft-";

/// An unfinished bundle; dropping it removes it.
#[derive(Debug)]
pub struct Draft {
    folder: TempDir,
    registration: Registration,
    place: PathBuf,
    existing: Existing,
}

impl Draft {
    /// Starts a bundle that will lie at `place`; fails at once where it could not be put there.
    pub fn start(place: &Path, existing: Existing) -> Result<Self> {
        let place = std::path::absolute(place)?;
        check_place(&place, existing)?;
        let parent = files::parent(&place);
        files::create_folder(parent)?;
        remove_abandoned(parent);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir_in(parent)
            .with_context(|| format!("creating a folder in `{}`", parent.display()))?;
        Ok(Self {
            registration: cleanup::folder(folder.path()),
            folder,
            place,
            existing,
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Records every file below the draft's folder, writes the manifest and moves the bundle to its
    /// place.
    pub fn seal(self, mut manifest: Manifest) -> Result<Bundle> {
        let root = self.folder.path();
        for name in names_below(root, "")? {
            let path = root.join(&name);
            let metadata = std::fs::metadata(&path)
                .with_context(|| format!("reading `{}`", path.display()))?;
            let sha256 = files::sha256(&path)?;
            let bytes = metadata.len();
            manifest.files.insert(name, SealedFile { bytes, sha256 });
        }
        files::write_json(&root.join(MANIFEST_FILE), &manifest)?;
        make_readable(root)?;
        self.move_into_place()
    }

    fn move_into_place(self) -> Result<Bundle> {
        check_place(&self.place, self.existing)?;
        let context = || format!("moving the bundle to `{}`", self.place.display());
        if self.place.exists() {
            let retired = tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{}-", std::process::id()))
                .tempdir_in(files::parent(&self.place))
                .with_context(context)?;
            std::fs::rename(&self.place, retired.path().join("old")).with_context(context)?;
        }
        std::fs::rename(self.folder.path(), &self.place).with_context(context)?;
        // The folder is now the bundle.
        drop(self.registration);
        let _ = self.folder.keep();
        Bundle::open(&self.place, Check::Sizes)
    }
}

/// Temporary folders are private to their owner; a bundle is served by other accounts, too.
fn make_readable(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making `{}` readable", folder.display()))
}

fn check_place(place: &Path, existing: Existing) -> Result<()> {
    let shown = place.display();
    if place.symlink_metadata().is_err() {
        return Ok(());
    }
    let is_empty_folder = place.is_dir() && files::list(place)?.is_empty();
    match (Bundle::is_at(place), existing) {
        (_, _) if is_empty_folder => Ok(()),
        (true, Existing::ReplaceBundle) => Ok(()),
        (true, Existing::Keep) => Err(Failure::usage(format!(
            "`{shown}` holds a bundle of another plan"
        ))
        .why("its chip, model, shapes, arguments or versions are others than those asked for")
        .help("give another `-o`, or replace it with `--force`")
        .into()),
        (false, _) => Err(
            Failure::usage(format!("`{shown}` exists and is not a bundle"))
                .help("give another `-o`; neuronc removes nothing that it did not make")
                .into(),
        ),
    }
}

/// Removes the drafts of processes that were killed.
fn remove_abandoned(parent: &Path) {
    for name in files::list(parent).unwrap_or_default() {
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner
            && !Path::new("/proc").join(owner).exists()
        {
            // Someone else's draft that cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(parent.join(name));
        }
    }
}

/// The files below `root`, as names relative to it, sorted.
fn names_below(root: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in files::list(&root.join(prefix))? {
        let name = match prefix {
            "" => entry,
            _ => format!("{prefix}/{entry}"),
        };
        match root.join(&name).is_dir() {
            true => names.extend(names_below(root, &name)?),
            false => names.push(name),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_folder_is_never_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("photos");
        files::create_folder(&place).unwrap();
        files::write(&place.join("cat.jpg"), b"").unwrap();
        for existing in [Existing::Keep, Existing::ReplaceBundle] {
            let error = Draft::start(&place, existing).unwrap_err().to_string();
            assert!(error.contains("not a bundle"), "{error}");
        }
    }

    #[test]
    fn a_draft_that_is_dropped_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let draft = Draft::start(&parent.path().join("b"), Existing::Keep).unwrap();
        files::write(&draft.folder().join("x"), b"x").unwrap();
        drop(draft);
        assert!(files::list(parent.path()).unwrap().is_empty());
    }

    #[test]
    fn drafts_of_dead_processes_are_removed_and_those_of_the_living_kept() {
        let parent = tempfile::tempdir().unwrap();
        // Process ids end below 2^22 on Linux.
        let dead = format!("{PREFIX}4194305-abc");
        let alive = format!("{PREFIX}{}-abc", std::process::id());
        for name in [&dead, &alive] {
            files::create_folder(&parent.path().join(name)).unwrap();
        }
        remove_abandoned(parent.path());
        assert_eq!(files::list(parent.path()).unwrap(), [alive]);
    }
}
