//! The environment of the process, read once.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::doctor::folders::NamedFolder;
use crate::executor::probe::Places;
use crate::files;
use crate::hub::{HubAccess, Patience, Secret};

/// The variables that neuronc reads, and the places that follow from them.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) places: Places,
    variables: BTreeMap<String, OsString>,
}

/// The variables that are read. Those of the Hub mean the same as for `huggingface_hub`; `NEURONC_ROOT` is the
/// folder in which the machine's `/dev`, `/opt` and `/proc` are mounted.
const NAMES: [&str; 18] = [
    "HOME",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "NEURONCORE_GROUP_SIZES",
    "NEURONC_ROOT",
    "NEURON_RT_NUM_CORES",
    "NEURON_RT_VISIBLE_CORES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "PATH",
    "TRANSFORMERS_OFFLINE",
    "XDG_CACHE_HOME",
];

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub(super) fn read() -> Result<Self> {
        let value = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let variables: BTreeMap<String, OsString> = NAMES
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), value(name)?)))
            .collect();
        let executable = env::current_exe().context("finding the running program")?;
        let places = Places {
            executable,
            path: variables.get("PATH").cloned(),
            sdk: None,
            root: variables
                .get("NEURONC_ROOT")
                .map_or_else(|| PathBuf::from("/"), PathBuf::from),
            temporary: env::temp_dir(),
        };
        Ok(Self { places, variables })
    }

    /// The environment for a process of this program: the variables that we read ourselves.
    pub(super) fn of_ourselves(&self) -> BTreeMap<OsString, OsString> {
        let variables = self.variables.iter();
        variables
            .map(|(name, value)| (name.into(), value.clone()))
            .collect()
    }

    /// A variable that is set and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.variables.get(name)?.to_string_lossy().into_owned())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }

    /// True for the values that `huggingface_hub` takes for true.
    fn is_on(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().to_uppercase();
        ["1", "ON", "YES", "TRUE"].contains(&text.as_str())
    }

    /// The settings of the Hub; `offline` is the option of the command line.
    pub(super) fn hub(&self, offline: bool) -> HubAccess {
        let home = self.hugging_face_home();
        let cache = self
            .path("HF_HUB_CACHE")
            .or_else(|| self.path("HUGGINGFACE_HUB_CACHE"));
        HubAccess {
            endpoint: self.text("HF_ENDPOINT"),
            token: self.token(&home),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            offline: offline || self.is_on("HF_HUB_OFFLINE") || self.is_on("TRANSFORMERS_OFFLINE"),
            patience: Patience::STANDARD,
        }
    }

    fn hugging_face_home(&self) -> PathBuf {
        let cache = || self.cache().join("huggingface");
        self.path("HF_HOME").unwrap_or_else(cache)
    }

    /// The user's folder for files that can be made again.
    fn cache(&self) -> PathBuf {
        let home = || self.path("HOME").unwrap_or_default();
        self.path("XDG_CACHE_HOME")
            .unwrap_or_else(|| home().join(".cache"))
    }

    /// The folder in which compilations keep finished buckets, so that an interrupted one can continue.
    pub(super) fn work(&self) -> PathBuf {
        self.cache().join("neuronc/work")
    }

    /// The folders that are written to outside of bundles.
    pub(super) fn folders(&self) -> [NamedFolder; 3] {
        let folder = |purpose, variable, path| NamedFolder {
            purpose,
            variable,
            path,
        };
        [
            folder("models", "HF_HUB_CACHE", self.hub(true).cache),
            folder("compilations", "XDG_CACHE_HOME", self.work()),
            folder("temporary files", "TMPDIR", self.places.temporary.clone()),
        ]
    }

    fn token(&self, home: &std::path::Path) -> Option<Secret> {
        if self.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            return None;
        }
        let variable = self
            .text("HF_TOKEN")
            .or_else(|| self.text("HUGGING_FACE_HUB_TOKEN"));
        let file = self
            .path("HF_TOKEN_PATH")
            .unwrap_or_else(|| home.join("token"));
        // A missing token file is normal: public models need no token.
        let text = variable.or_else(|| files::read_text(&file).ok())?;
        Secret::new(&text)
    }
}
