//! What `g++` makes of `tests/sdk/plugin`: libraries that take the place of libtorchneuron.so, and the
//! program that makes artifacts for them.
//!
//! Reading libtorch's headers takes most of a minute, so that the results are kept beside libtorch's
//! archive, under a digest of sources and arguments.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use neuronc::files;

use crate::support::repository;

/// What can be built.
#[derive(Debug, Clone, Copy)]
pub(super) enum Build {
    /// The library as it should be.
    Plugin,
    /// It wants a libnrt.so.1.
    WithRuntime,
    /// An empty library of that name.
    Runtime,
    /// The library with the C++ ABI that torch-neuronx had up to PyTorch 2.6.
    OldAbi,
    /// The program that makes artifacts.
    Artifact,
    /// What the first two are linked of.
    Object,
}

const PLUGIN_NAME: &str = "-Wl,-soname,libtorchneuron.so";

impl Build {
    fn name(self) -> &'static str {
        match self {
            Build::Plugin => "libtorchneuron.so",
            Build::WithRuntime => "libtorchneuron-with-runtime.so",
            Build::Runtime => "libnrt.so.1",
            Build::OldAbi => "libtorchneuron-old-abi.so",
            Build::Artifact => "artifact",
            Build::Object => "plugin.o",
        }
    }

    /// What `g++` is told, but for libtorch and the output.
    fn arguments(self) -> Vec<String> {
        let path = |build: Build| build.file().display().to_string();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Build::Plugin => [words(&["-shared", PLUGIN_NAME]), vec![path(Build::Object)]].concat(),
            Build::WithRuntime => {
                let files = vec![path(Build::Object), path(Build::Runtime)];
                [
                    words(&["-shared", PLUGIN_NAME, "-Wl,--no-as-needed"]),
                    files,
                ]
                .concat()
            }
            Build::Runtime => words(&[
                "-shared",
                "-Wl,--as-needed,-soname,libnrt.so.1",
                "-x",
                "c++",
                "/dev/null",
            ]),
            Build::OldAbi => words(&[
                "-shared",
                PLUGIN_NAME,
                "-D_GLIBCXX_USE_CXX11_ABI=0",
                "plugin.cpp",
            ]),
            Build::Artifact => words(&["artifact.cpp"]),
            Build::Object => words(&["-c", "plugin.cpp"]),
        }
    }

    /// The file, built where it is not there yet.
    pub(super) fn file(self) -> PathBuf {
        let libtorch = PathBuf::from(std::env::var("LIBTORCH").expect("cargo sets LIBTORCH"));
        let sources = repository().join("tests/sdk/plugin");
        let folder = cache()
            .join("test-plugin")
            .join(digest(&sources, &libtorch));
        let file = folder.join(self.name());
        if file.exists() {
            return file;
        }
        fs::create_dir_all(&folder).unwrap();
        let arguments = self.arguments();
        let lock = File::create(folder.join(format!("{}.lock", self.name()))).unwrap();
        lock.lock().unwrap();
        if !file.exists() {
            println!("building {} once, into {}", self.name(), folder.display());
            let unfinished = folder.join(format!("{}.unfinished", self.name()));
            compile(&arguments, &sources, &libtorch, &unfinished);
            fs::rename(&unfinished, &file).unwrap();
        }
        file
    }
}

/// Names what the files are made of: the sources, how they are compiled (this file) and libtorch.
fn digest(sources: &Path, libtorch: &Path) -> String {
    let mut digested = [
        libtorch.as_os_str().as_encoded_bytes(),
        include_bytes!("built.rs"),
    ]
    .concat();
    for name in files::list(sources).unwrap() {
        if name.ends_with(".cpp") || name.ends_with(".h") {
            digested.extend(fs::read(sources.join(name)).unwrap());
        }
    }
    files::sha256_of(&digested)[..16].to_owned()
}

#[track_caller]
fn compile(arguments: &[String], sources: &Path, libtorch: &Path, to: &Path) {
    let (include, lib) = (libtorch.join("include"), libtorch.join("lib"));
    let mut command = Command::new("g++");
    command
        .args(["-std=c++17", "-O0", "-fPIC", "-I"])
        .arg(&include)
        .arg("-I")
        .arg(include.join("torch/csrc/api/include"))
        .args(arguments)
        .arg("-L")
        .arg(&lib)
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .args(["-ltorch_cpu", "-lc10", "-o"])
        .arg(to)
        .current_dir(sources);
    let output = command.output();
    let output = output.expect("these tests need g++, of Debian's package g++");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{message}");
}

/// Where neuronc keeps what is expensive to make again.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap()).join(".cache");
    let cache = std::env::var("XDG_CACHE_HOME").map_or_else(|_| home(), PathBuf::from);
    cache.join("neuronc")
}
