//! Bundles of the committed models that tests share: each is traced once by this run of the tests, and
//! copied for everyone who wants it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use crate::support::copy_folder;

/// A model and the options of `neuronc trace` besides it.
type Key = (PathBuf, Vec<String>);

/// The bundle of each key, once it is there: who comes meanwhile waits for it, and for no other.
static BUNDLES: Mutex<BTreeMap<Key, Arc<OnceLock<PathBuf>>>> = Mutex::new(BTreeMap::new());

/// Where the bundles of this run lie. What earlier runs left is removed, which cannot be done at the end
/// of a run: nobody knows which test is the last one.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sealed");
    fs::create_dir_all(&root).unwrap();
    for entry in fs::read_dir(&root).unwrap() {
        let entry = entry.unwrap();
        let process = Path::new("/proc").join(entry.file_name());
        if !process.exists() {
            // Another run may do the same now.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let own = root.join(std::process::id().to_string());
    fs::create_dir_all(&own).unwrap();
    own
});

/// Copies to `to` the bundle of the committed model `model`, traced with `options`.
pub(crate) fn copy_bundle(model: &Path, options: &[&str], to: &Path) {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let key = (model.to_owned(), options);
    let bundle = {
        let mut bundles = BUNDLES.lock().unwrap();
        Arc::clone(bundles.entry(key.clone()).or_default())
    };
    copy_folder(bundle.get_or_init(|| trace(&key)), to);
}

fn trace((model, options): &Key) -> PathBuf {
    let folder = tempfile::tempdir_in(&*FOLDER).unwrap().keep();
    let output = Command::new(env!("CARGO_BIN_EXE_neuronc"))
        .arg("trace")
        .arg(model)
        .args(["-o", "bundle"])
        .args(options)
        .current_dir(&folder)
        .env_clear()
        .env("HOME", &folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", model.display());
    folder.join("bundle")
}
