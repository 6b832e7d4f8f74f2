//! Files of a model come from a Hub, from the cache shared with Python, or from a folder, whole or not at all.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod cached;
mod local;
mod refused;
mod transfer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use neuronc::failure::{Class, Failure};
use neuronc::files;
use neuronc::hub::{self, HubAccess, ModelSource, Patience, Snapshot};
use tempfile::TempDir;

use crate::hub_server::HubServer;

const ID: &str = "org/name";
const WEIGHTS: &str = "model.safetensors";
const SMALL: [&str; 3] = ["config.json", "tokenizer.json", "1_Pooling/config.json"];

/// More than one packet, so that a transfer can break in the middle.
const WEIGHTS_BYTES: usize = 300_000;

const QUICK: Patience = Patience {
    connect: Duration::from_secs(20),
    silence: Duration::from_secs(20),
    attempts: 4,
    pause: Duration::from_millis(1),
};

/// For servers that do not answer, where the wait is the test's duration.
const IMPATIENT: Patience = Patience {
    silence: Duration::from_secs(2),
    attempts: 1,
    ..QUICK
};

/// A model on a Hub, and an empty cache.
struct World {
    model: TempDir,
    home: TempDir,
    server: HubServer,
}

impl World {
    fn new() -> Self {
        let model = tempfile::tempdir().unwrap();
        write(model.path(), "config.json", br#"{"model_type": "bert"}"#);
        write(model.path(), "tokenizer.json", b"{}");
        write(model.path(), "empty.txt", b"");
        write(model.path(), "1_Pooling/config.json", b"{\"pooling\": 1}");
        write(model.path(), "pytorch_model.bin", b"a pickle");
        write(model.path(), WEIGHTS, &weights());
        Self {
            server: HubServer::start(model.path(), ID),
            home: tempfile::tempdir().unwrap(),
            model,
        }
    }

    fn access(&self) -> HubAccess {
        HubAccess {
            endpoint: Some(self.server.endpoint()),
            token: None,
            cache: self.home.path().join("hub"),
            offline: false,
            patience: QUICK,
        }
    }

    fn offline(&self) -> HubAccess {
        HubAccess {
            offline: true,
            ..self.access()
        }
    }

    fn open(&self) -> Snapshot {
        hub::open(&main(), &self.access()).unwrap()
    }

    /// Downloads these files, and gives the failure or the paths.
    fn fetch(&self, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        self.open().fetch(names, &mut |_| {})
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--org--name")
    }

    fn blob(&self, name: &str) -> PathBuf {
        let snapshot = self.open();
        let digest = snapshot.file(name).unwrap().digest.clone().unwrap();
        self.repository().join("blobs").join(digest.hex())
    }

    fn partial(&self) -> PathBuf {
        self.blob(WEIGHTS).with_extension("incomplete")
    }
}

fn main() -> ModelSource {
    at(None)
}

fn at(revision: Option<&str>) -> ModelSource {
    ModelSource::Hub {
        id: ID.to_owned(),
        revision: revision.map(str::to_owned),
    }
}

/// Bytes that differ from place to place, so that a shift or a gap shows.
fn weights() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..WEIGHTS_BYTES).map(|_| next()).collect()
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    files::create_folder(files::parent(&path)).unwrap();
    files::write(&path, content).unwrap();
}

/// The text of an error whose class is that of the Hub.
fn hub_error<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(Failure::class_of(&error), Class::Hub, "{error:#}");
    format!("{error:#}")
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
