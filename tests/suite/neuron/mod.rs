//! `neuronc trace` for Neuron chips, with doubles of the SDK that are real processes: tests/sdk/README.md.

mod chips;
mod device;
mod disk;
mod faults;
mod interruption;
mod masks;
mod memory;
mod output;
mod rehearse;
mod resuming;
mod sdk;
mod server;
mod serving;
mod torchscript;
mod transformers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Run, Workplace, fixture, repository, skip_outside_of_ci};

/// One bucket, which takes seconds.
const ONE: [&str; 4] = ["--batch-size", "1", "--sequence-length", "16"];

/// Three buckets.
const THREE: [&str; 4] = ["--batch-size", "1,2,3", "--sequence-length", "16"];

/// A workplace with an environment of the SDK at `sdk`.
struct Bench {
    place: Workplace,
    chip: String,
    model: PathBuf,
}

impl Bench {
    /// `None`, with a printed reason, where the doubles were not made.
    fn new(chip: &str) -> Option<Self> {
        Self::with(chip, &[])
    }

    /// The same; `options` are those of `make_environment.py`.
    fn with(chip: &str, options: &[&str]) -> Option<Self> {
        let place = Workplace::new();
        let made = make_environment(kind_of(chip), &place.path("sdk"), options);
        made.then(|| Self {
            place,
            chip: chip.to_owned(),
            model: fixture("feature-extraction"),
        })
    }

    fn set_model(&mut self, model: PathBuf) {
        self.model = model;
    }

    /// What the double does wrong from now on.
    fn set_faults(&self, faults: &Value) {
        fs::write(
            self.place.path("sdk/neuronc-double.json"),
            faults.to_string(),
        )
        .unwrap();
    }

    /// The arguments that trace the model into the bundle `b`.
    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let model = self.model.display().to_string();
        let sdk = match more.contains(&"--sdk") {
            true => Vec::new(),
            false => vec!["--sdk", "sdk"],
        };
        let fixed = ["trace", &model, "--chip", &self.chip, "-o", "b"];
        let words = fixed.into_iter().chain(sdk).chain(more.iter().copied());
        words.map(str::to_owned).collect()
    }

    fn trace(&self, more: &[&str]) -> Run {
        let arguments = self.arguments(more);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.place.run(&words)
    }

    /// Starts to trace, and captures stdout and stderr.
    fn start(&self, more: &[&str]) -> Child {
        let arguments = self.arguments(more);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.place.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn read_json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.place.path(file)).unwrap()).unwrap()
    }

    /// The folders of work that are left.
    fn work_folders(&self) -> Vec<PathBuf> {
        let folder = self.place.path(".cache/neuronc/work");
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The one folder of work that is left.
    #[track_caller]
    fn work(&self) -> PathBuf {
        let mut folders = self.work_folders();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders.remove(0)
    }

    /// Processes that run a program of the environment, by their command lines.
    fn processes(&self) -> Vec<String> {
        let sdk = self.place.path("sdk").display().to_string();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let line = |entry: fs::DirEntry| {
            let bytes = fs::read(entry.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
        };
        let lines = entries.filter_map(line);
        lines
            .filter(|line| line.contains(&sdk) && !line.contains("--sdk"))
            .collect()
    }
}

fn kind_of(chip: &str) -> &'static str {
    match chip {
        "inf1" => "inf1",
        _ => "neuronx",
    }
}

/// Makes an environment of the SDK in `folder`; false, with a printed reason, where that cannot be.
pub(crate) fn make_environment(kind: &str, folder: &Path, options: &[&str]) -> bool {
    let script = repository().join("tests/sdk/make_environment.py");
    let mut command = Command::new("python3");
    let output = command
        .arg(script)
        .arg(kind)
        .arg(folder)
        .args(options)
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => true,
        Some(3) => {
            skip_outside_of_ci(said);
            false
        }
        _ => panic!("make_environment.py {kind}: {said}"),
    }
}

/// The names of the buckets in an answer as JSON, in order of size.
fn buckets(answer: &Value) -> Vec<String> {
    let listed = answer["buckets"].as_array().unwrap();
    let name = |entry: &Value| {
        let bucket = &entry["bucket"];
        format!("{}x{}", bucket["batch"], bucket["sequence"])
    };
    let mut names: Vec<String> = listed.iter().map(name).collect();
    names.sort();
    names
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let ends = Instant::now() + Duration::from_secs(180);
    while !condition() {
        assert!(Instant::now() < ends, "not within three minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
