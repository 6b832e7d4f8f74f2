//! What the integration tests share: running the program, fixtures, random models.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use neuronc::checkpoint::{Checkpoint, RequestedTracer, SmallFiles};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::sealed;

/// A run of the program, in a home of its own and with nothing else of our environment.
pub(crate) struct Run {
    output: Output,
    shown: String,
}

/// A folder in which the program runs; HOME and the Hub cache are in it.
pub(crate) struct Workplace {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: BTreeMap::new(),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with `args`, ready to start.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_neuronc")), args)
    }

    /// The same of a program that is installed elsewhere.
    pub(crate) fn command_of(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .envs(&self.environment);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run {
            output: self.command(args).output().unwrap(),
            shown: format!("neuronc {}", args.join(" ")),
        }
    }

    /// Traces a model into `bundle` and gives the bundle's path. Committed models are not traced anew
    /// for each test: [`sealed`].
    pub(crate) fn traced(&self, model: &Path, bundle: &str, more: &[&str]) -> PathBuf {
        // An option may be a file that only this test has.
        let is_own = more.iter().any(|option| self.path(option).exists());
        if model.starts_with(fixture("")) && self.environment.is_empty() && !is_own {
            sealed::copy_bundle(model, more, &self.path(bundle));
            return self.path(bundle);
        }
        let model = model.display().to_string();
        let mut args = vec!["trace", &model, "-o", bundle];
        args.extend(more);
        self.run(&args).succeeds();
        self.path(bundle)
    }
}

impl Run {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert!(
            self.output.status.success(),
            "{} failed:\n{}",
            self.shown,
            self.stderr()
        );
        self
    }

    /// The exit code is `code` and the message contains every one of `parts`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Self {
        let stderr = self.stderr();
        assert_eq!(
            self.output.status.code(),
            Some(code),
            "{}:\n{stderr}",
            self.shown
        );
        for part in parts {
            assert!(
                stderr.contains(part),
                "{}: `{part}` is not in:\n{stderr}",
                self.shown
            );
        }
        assert!(!stderr.contains("panicked"), "{}:\n{stderr}", self.shown);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.output.stdout).unwrap()
    }
}

/// How many cases a property test tries: `usual`, or what `make fuzz` asks for.
pub(crate) fn property_cases(usual: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.map_or(usual, |cases| cases.parse().unwrap())
}

/// Says why a test is skipped, where a run shows it: the stdout of a test that passes is kept back.
pub(crate) fn skip(why: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // The run goes on if nobody can be told.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
}

/// The same for want of something that CI has: there the test fails.
#[track_caller]
pub(crate) fn skip_outside_of_ci(why: impl Display) {
    assert!(
        std::env::var_os("CI").is_none(),
        "in CI nothing is skipped: {why}"
    );
    skip(why);
}

pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of a committed fixture model.
pub(crate) fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures/models").join(name)
}

/// A copy of a fixture that a test may change.
pub(crate) fn copy_of(name: &str, to: &Path) -> PathBuf {
    copy_folder(&fixture(name), to);
    to.to_owned()
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Changes a JSON file.
pub(crate) fn edit_json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Makes the manifest of a bundle agree with its files as they now are.
pub(crate) fn seal_again(bundle: &Path) {
    edit_json(&bundle.join("manifest.json"), |manifest| {
        for (name, sealed) in manifest["files"].as_object_mut().unwrap() {
            let bytes = fs::read(bundle.join(name)).unwrap();
            sealed["bytes"] = bytes.len().into();
            sealed["sha256"] = neuronc::files::sha256_of(&bytes).into();
        }
    });
}

/// Writes a model of a recipe's shape with random weights into `folder`.
pub(crate) fn random_model_of(recipe: &str, folder: &Path) {
    let shape = repository().join("models").join(recipe).join("shape.json");
    let config = serde_json::from_slice(&fs::read(shape).unwrap()).unwrap();
    random_model(&config, folder);
}

/// Writes a model of the shape in `config` with random weights into `folder`; the tokenizer is that
/// of a fixture, whose vocabulary is smaller than any real one.
fn random_model(config: &serde_json::Value, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let text = config.to_string().into_bytes();
    fs::write(folder.join("config.json"), &text).unwrap();
    for name in ["vocab.txt", "tokenizer_config.json"] {
        fs::copy(fixture("vocab-only").join(name), folder.join(name)).unwrap();
    }
    let small = SmallFiles::from([("config.json".to_owned(), text)]);
    let listed = ["config.json", "model.safetensors", "vocab.txt"];
    let checkpoint =
        Checkpoint::resolve(&small, &listed, None, &RequestedTracer::Automatic).unwrap();
    let specs = checkpoint.tracer.spec().unwrap().weights();
    let largest = specs
        .iter()
        .map(|spec| spec.shape.iter().product::<usize>())
        .max()
        .unwrap();
    let values = random_bytes(largest);
    let tensors = specs.iter().map(|spec| {
        let bytes = &values[..spec.shape.iter().product::<usize>() * 4];
        (
            &spec.name,
            TensorView::new(Dtype::F32, spec.shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
}

/// `count` floats between -0.05 and 0.05; the first 64 Ki are random, the rest repeats them.
fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32 * 0.1 - 0.05
    };
    let block: Vec<u8> = (0..65_521).flat_map(|_| next().to_le_bytes()).collect();
    block.iter().copied().cycle().take(count * 4).collect()
}
