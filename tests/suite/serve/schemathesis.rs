//! Requests that follow the OpenAPI document, and requests that break it in every way that schemathesis
//! knows: none is answered with a fault of the server, or with a status, header, content type or body that
//! the document does not have, and none that breaks it is answered as if it did not.
//!
//! They run in the environment of `scripts/client-env.sh`; without it these tests say so and end.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::clients::{self, MODELS, command, environment, succeeds};
use crate::serve::server::{Running, Server, shapes};
use crate::support::{Workplace, fixture, repository};

/// How often each operation was answered with each status.
type Tally = BTreeMap<String, BTreeMap<String, u64>>;

/// A server of all models on two cores, with a port for management.
struct FuzzedServer {
    server: Running,
    address: SocketAddr,
    bundles: BTreeMap<&'static str, String>,
}

impl FuzzedServer {
    fn start(more: &[&str]) -> Self {
        let place = Workplace::new();
        let bundles: BTreeMap<&str, String> = MODELS
            .iter()
            .map(|name| {
                let folder = place.traced(&fixture(name), name, &shapes(name));
                (*name, folder.display().to_string())
            })
            .collect();
        let models = MODELS.map(|name| format!("{name}={}", bundles[name]));
        let mut args = vec!["--cores", "2", "--models-per-core", "4"];
        args.extend(["--management-port", "0"]);
        args.extend(models.iter().flat_map(|model| ["--model", model]));
        args.extend(more);
        let mut server = Server::start_with(&place, &args);
        let address = server.management();
        server.wait_ready(2);
        Self {
            server: Running { server, place },
            address,
            bundles,
        }
    }

    fn put(&self, path: &str, body: &Value) {
        let mut client = Client::connect(self.address).unwrap();
        let body = body.to_string();
        let put = client.send("PUT", path, body.as_bytes()).unwrap();
        assert_eq!(put.status, 200, "{put:?}");
    }

    /// What each model answers on each core.
    fn answers(&self) -> Vec<Value> {
        let ask = |name: &str| {
            let inputs = match name {
                "question-answering" => json!({"question": "the cat", "context": "the river"}),
                _ => json!("the cat"),
            };
            let path = format!("/predict/{name}");
            let answer = self.server.post(&path, &json!({"inputs": inputs}));
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
            answer.json()
        };
        MODELS.iter().map(|name| ask(name)).collect()
    }

    /// The state, process and restarts of each core.
    fn cores(&self) -> Vec<[Value; 3]> {
        let mut client = Client::connect(self.address).unwrap();
        let cores = client.get("/admin/cores").unwrap().json();
        let cores = cores.as_array().unwrap().iter();
        cores
            .map(|core| ["state", "pid", "restarts"].map(|key| core[key].clone()))
            .collect()
    }
}

/// Runs schemathesis on a port, and counts what it was answered; nothing where it is not installed.
#[track_caller]
fn run(
    (server, address): (&Running, SocketAddr),
    variables: &[(&str, &str)],
    args: &[&str],
) -> Option<Tally> {
    let programs = environment()?;
    let clients = repository().join("tests/clients");
    let tally = server.place.path("tally.json");
    let examples = std::env::var("NEURONC_FUZZ_EXAMPLES").unwrap_or_else(|_| "20".to_owned());
    let output = command(&programs.join("schemathesis"), &server.place)
        .env("SCHEMATHESIS_HOOKS", clients.join("schemathesis_hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NEURONC_FUZZ_TALLY", &tally)
        .envs(variables.iter().copied())
        .arg("--config-file")
        .arg(clients.join("schemathesis.toml"))
        .args(["run", &format!("http://{address}/openapi.json")])
        .args(["--max-examples", &examples, "--mode", "all", "--seed", "1"])
        .args(["--no-color", "--request-timeout", "30"])
        .args(args)
        .output()
        .unwrap();
    succeeds(&output);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    Some(serde_json::from_slice(&fs::read(tally).unwrap()).unwrap())
}

const ALL_PHASES: [&str; 2] = ["--phases", "examples,coverage,fuzzing"];

/// Every operation was answered and refused with these statuses at least once, so that what was found
/// about them is not that nothing was asked.
#[track_caller]
fn check_reached(tally: &Tally, statuses: &[(&str, &[&str])]) {
    // No model of these gives a vector for each token, and only operators take one away.
    let is_refused =
        |operation: &str| operation.ends_with("/embed_all") || operation.ends_with("/unload");
    for (operation, answers) in tally {
        assert!(
            answers.contains_key("200") || is_refused(operation),
            "{operation}: {answers:?}"
        );
    }
    for (operation, statuses) in statuses {
        let answers = &tally[*operation];
        for status in *statuses {
            assert!(
                answers.contains_key(*status),
                "{operation}: no {status}: {answers:?}"
            );
        }
    }
}

#[test]
fn nothing_is_found_where_models_are_asked() {
    let server = clients::server();
    let Some(tally) = run((&server, server.address), &[], &ALL_PHASES) else {
        return;
    };
    check_reached(
        &tally,
        &[
            ("POST /predict/{model}", &["400", "404", "422"]),
            ("POST /v2/models/{model}/infer", &["400", "404"]),
        ],
    );
}

#[test]
fn nothing_is_found_where_operators_change_what_is_served() {
    let managed = FuzzedServer::start(&[]);
    let shapes = ["--batch-size", "1,2", "--sequence-length", "16"];
    let place = &managed.server.place;
    let other = place.traced(&fixture("feature-extraction"), "other", &shapes);
    // So that there is something to go back to.
    for model in &MODELS[..2] {
        managed.put("/admin/aliases/best", &json!({"models": {*model: 1}}));
    }
    let (answers, cores) = (managed.answers(), managed.cores());
    let bundles = json!(managed.bundles).to_string();
    let variables = [
        ("NEURONC_FUZZ_BUNDLES", &*bundles),
        ("NEURONC_FUZZ_OTHER", other.to_str().unwrap()),
    ];
    let Some(tally) = run((&managed.server, managed.address), &variables, &ALL_PHASES) else {
        return;
    };
    check_reached(
        &tally,
        &[
            ("PUT /admin/models/{model}", &["422"]),
            ("DELETE /admin/models/{model}", &["422"]),
            ("PUT /admin/aliases/{alias}", &["422"]),
            ("DELETE /admin/aliases/{alias}", &["422"]),
            ("POST /admin/aliases/{alias}/rollback", &["422"]),
            ("POST /v2/repository/models/{model}/load", &["400"]),
            ("POST /v2/repository/models/{model}/unload", &["200", "400"]),
        ],
    );
    // No worker was lost on the way, and what is served answers as before.
    assert_eq!(managed.cores(), cores, "{}", managed.server.log());
    assert_eq!(managed.answers(), answers);
}

#[test]
fn nothing_is_found_behind_keys() {
    let place = Workplace::new();
    let made = |name: &str, role: &str| {
        let run = place.run(&["key", name, "--role", role, "--format", "json"]);
        let made = run.succeeds().json();
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let entry = format!(
            "- name: {name}\n  sha256: {}\n  role: {role}\n",
            text("sha256")
        );
        (text("key"), entry)
    };
    let (admin, first) = made("operator", "admin");
    let (user, second) = made("team", "predict");
    let keys = place.path("keys.yaml");
    fs::write(&keys, format!("{first}{second}")).unwrap();
    let managed = FuzzedServer::start(&["--api-keys", keys.to_str().unwrap()]);
    // What breaks the document is refused for its key first.
    let phases = ["--phases", "examples,coverage", "--exclude-checks"];
    for (key, passes) in [(admin, true), (user, false)] {
        let header = format!("Authorization: Bearer {key}");
        let args = [&phases[..], &["negative_data_rejection", "-H", &header]].concat();
        let Some(tally) = run((&managed.server, managed.address), &[], &args) else {
            return;
        };
        let is_admin = |status: &String| status != "401" && status != "403";
        for (operation, answers) in &tally {
            if operation.contains("/admin/") {
                let seen = answers.keys().all(|status| is_admin(status) == passes);
                assert!(seen, "{operation}: {answers:?}");
            }
        }
    }
}
