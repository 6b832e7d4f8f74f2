//! A machine with a chip, as far as a worker can tell: a Python environment with the plugin, devices,
//! and a bundle whose artifacts run on nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::Result;
use neuronc::bucket::Row;
use neuronc::bundle::{Bundle, Check};
use neuronc::command::Program;
use neuronc::executor::probe::Places;
use neuronc::executor::wire::Plugin;
use neuronc::runtime::{Backend, Preload, Worker};
use tempfile::TempDir;

use crate::plugin::built::Build;
use crate::support::{Workplace, copy_folder, edit_json, fixture};

/// How long one batch may take.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// A bundle of the processor, and the same model compiled for the double of a chip.
pub(super) struct Bundles {
    place: Workplace,
}

impl Bundles {
    /// The bundles that all tests read; they end with the last test that holds them.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Bundles>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bundles) = shared.upgrade() {
            return bundles;
        }
        let bundles = Arc::new(Self::make());
        *shared = Arc::downgrade(&bundles);
        bundles
    }

    fn make() -> Self {
        let place = Workplace::new();
        let shapes = ["--batch-size", "1,2", "--sequence-length", "16"];
        let more = [&shapes[..], &["--self-contained"]].concat();
        place.traced(&fixture("feature-extraction"), "host", &more);
        let bundles = Self { place };
        bundles.compile("chip", None);
        bundles
    }

    pub(super) fn host(&self) -> Bundle {
        self.open("host")
    }

    pub(super) fn chip(&self) -> Bundle {
        self.open("chip")
    }

    pub(super) fn open(&self, name: &str) -> Bundle {
        Bundle::open(&self.place.path(name), Check::Content).unwrap()
    }

    /// Makes the bundle `name` of the chip; `neff` is the major version of the format.
    pub(super) fn compile(&self, name: &str, neff: Option<&str>) {
        let host = self.host();
        let folder = self.place.path(name);
        copy_folder(host.folder(), &folder);
        fs::create_dir(folder.join("artifacts")).unwrap();
        let inputs = host.manifest.plan.inputs.len().to_string();
        for artifact in &host.manifest.artifacts {
            let file = artifact.file.rsplit('/').next().unwrap();
            let mut command = Command::new(Build::Artifact.file());
            command
                .arg(Build::Plugin.file())
                .arg(folder.join("self-contained").join(file))
                .arg(artifact.bucket.batch.to_string())
                .arg(artifact.bucket.sequence.to_string())
                .arg(&inputs)
                .arg(folder.join("artifacts").join(file))
                .args(neff);
            let output = command.output().unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}:\n{message}");
        }
        edit_json(&folder.join("manifest.json"), |manifest| {
            manifest["weight_names"] = serde_json::json!([]);
            let mut files = manifest["files"].take();
            for artifact in manifest["artifacts"].as_array_mut().unwrap() {
                let file = artifact["file"].as_str().unwrap();
                let file = format!("artifacts/{}", file.rsplit('/').next().unwrap());
                let path = folder.join(&file);
                files[&file] = serde_json::json!({
                    "bytes": path.metadata().unwrap().len(),
                    "sha256": neuronc::files::sha256(&path).unwrap(),
                });
                artifact["file"] = file.into();
            }
            manifest["files"] = files;
        });
    }
}

/// A machine of which a test may break what it likes.
pub(super) struct ChipMachine {
    folder: TempDir,
    /// Settings of the double; see tests/sdk/plugin/fault.h.
    settings: Vec<(&'static str, String)>,
}

impl ChipMachine {
    /// Two cores, and a Python environment with torch 2.9.1 and the plugin `build`.
    pub(super) fn with(build: Build) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self {
            settings: vec![(
                "NEURON_DOUBLE_DEVICE_ROOT",
                folder.path().display().to_string(),
            )],
            folder,
        };
        for folder in [
            "dev",
            "site-packages/torch_neuronx/lib",
            "site-packages/torch",
        ] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        fs::write(machine.path("dev/neuron0"), b"").unwrap();
        machine.set_torch("2.9.1+cpu");
        fs::copy(build.file(), machine.plugin()).unwrap();
        machine
    }

    pub(super) fn new() -> Self {
        Self::with(Build::Plugin)
    }

    pub(super) fn faulty(fault: &str) -> Self {
        let mut machine = Self::new();
        machine
            .settings
            .push(("NEURON_DOUBLE_RUNTIME", fault.to_owned()));
        machine
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn plugin(&self) -> PathBuf {
        self.path("site-packages/torch_neuronx/lib/libtorchneuron.so")
    }

    pub(super) fn set_torch(&self, version: &str) {
        let text = format!("__all__ = ['__version__']\n__version__ = '{version}'\n");
        fs::write(self.path("site-packages/torch/version.py"), text).unwrap();
    }

    fn program(&self) -> Program {
        let mut program = host_program();
        let settings = self.settings.iter();
        program
            .environment
            .extend(settings.map(|(name, value)| ((*name).into(), value.into())));
        program
    }

    /// What runs artifacts here; `torch` is what a probe would know of the plugin.
    pub(super) fn backend(&self, torch: Option<&str>) -> Backend {
        let plugin = Plugin {
            file: self.plugin(),
            torch: torch.map(str::to_owned),
        };
        let library = self.path("opt/aws/neuron/lib/libnrt.so.1");
        Backend::chip(self.program(), Preload::Plugin(plugin), Some(&library))
    }

    /// A worker of `bundle` on one core.
    pub(super) fn start(&self, bundle: &Bundle, core: usize) -> Result<Worker> {
        let backend = self.backend(None).on_cores(
            BTreeMap::from([("NEURON_RT_VISIBLE_CORES", core.to_string())]),
            "test",
        );
        Worker::start(&backend, bundle, 1, self.log())
    }

    /// Why there is no worker of `bundle`.
    #[track_caller]
    pub(super) fn refusal(&self, bundle: &Bundle) -> String {
        match self.start(bundle, 0) {
            Ok(_) => panic!("the bundle was loaded:\n{}", self.logged()),
            Err(error) => format!("{error:#}"),
        }
    }

    fn log(&self) -> File {
        let mut options = File::options();
        options.create(true).append(true);
        options.open(self.path("worker.log")).unwrap()
    }

    /// What the workers wrote.
    pub(super) fn logged(&self) -> String {
        fs::read_to_string(self.path("worker.log")).unwrap()
    }
}

/// `neuronc-torch`, as it runs on a processor.
pub(super) fn host_program() -> Program {
    let executable = std::env::current_exe().unwrap();
    let path = None;
    let places = Places {
        executable,
        path,
        sdk: None,
        root: "/".into(),
        temporary: std::env::temp_dir(),
    };
    places.torch().unwrap()
}

/// One row through the first bucket.
pub(super) fn run_one(
    worker: &mut Worker,
    bundle: &Bundle,
    deadline: Duration,
) -> Result<Vec<f32>> {
    let rows = bundle.reference_rows()?;
    let bucket = bundle.manifest.artifacts[0].bucket;
    let row: &Row = rows
        .iter()
        .find(|row| row.ids.len() <= bucket.sequence)
        .unwrap();
    Ok(worker.run_rows(bundle, bucket, &[row], deadline)?.remove(0))
}
