//! The client libraries that people use, against a server of several models. They run in the environment
//! of `scripts/client-env.sh`; without it these tests say so and end.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::serve::server::{Running, Server, shapes, shared_as};
use crate::support::{Workplace, fixture, repository, skip_outside_of_ci};

pub(super) const MODELS: [&str; 4] = [
    "feature-extraction",
    "text-classification",
    "one-label",
    "question-answering",
];

/// All the models, on two cores.
pub(super) fn server() -> Arc<Running> {
    shared_as("clients", || {
        let place = Workplace::new();
        let models = MODELS.map(|name| {
            place.traced(&fixture(name), name, &shapes(name));
            format!("{name}={name}")
        });
        let mut args = vec!["--cores", "2", "--models-per-core", "4"];
        args.extend(models.iter().flat_map(|model| ["--model", model]));
        let server = Server::start_with(&place, &args);
        server.wait_ready(2);
        Running { server, place }
    })
}

/// The folder of the environment's programs, unless it has not been made.
pub(super) fn environment() -> Option<PathBuf> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache")))?;
    let clients = cache.join("neuronc/clients");
    let wanted = std::fs::read(repository().join("scripts/clients-requirements.txt")).unwrap();
    let installed = std::fs::read(clients.join("installed-requirements.txt"));
    if installed.is_ok_and(|installed| installed == wanted) {
        return Some(clients.join("bin"));
    }
    skip_outside_of_ci("the clients are not installed: run scripts/client-env.sh");
    None
}

/// A program that reaches no proxy and no user's settings.
pub(super) fn command(program: &PathBuf, place: &Workplace) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", place.path(""))
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .env("PATH", "/usr/bin:/bin")
        .current_dir(place.path(""));
    command
}

#[track_caller]
pub(super) fn succeeds(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Runs a script of `tests/clients` against the server.
#[track_caller]
fn run(script: &str, args: &[&str]) {
    let Some(programs) = environment() else {
        return;
    };
    let server = server();
    let output = command(&programs.join("python"), &server.place)
        .arg("-B")
        .arg(repository().join("tests/clients").join(script))
        .arg(format!("http://{}", server.address))
        .args(args)
        .output()
        .unwrap();
    succeeds(&output);
}

#[test]
fn the_openai_package() {
    run("openai_client.py", &[]);
}

#[test]
fn the_huggingface_hub_package() {
    run("huggingface_client.py", &[]);
}

#[test]
fn the_tritonclient_package() {
    run("triton_client.py", &[]);
}

#[test]
fn the_kserve_package() {
    run("kserve_client.py", &[]);
}

#[test]
fn the_load_generator_of_the_post() {
    // Number 3 of the models of a core answers questions.
    run("reference_load.py", &["3"]);
}
