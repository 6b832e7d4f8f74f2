//! Several models on one server: each on its cores, under its name, and through its ports.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::client::Client;
use crate::serve::server::{Server, send, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// A place with two bundles: `embed` and `classify`.
fn place() -> Workplace {
    let place = Workplace::new();
    place.traced(
        &fixture("feature-extraction"),
        "embed",
        &shapes("feature-extraction"),
    );
    place.traced(
        &fixture("text-classification"),
        "classify",
        &shapes("text-classification"),
    );
    place
}

fn started(args: &[&str], cores: usize) -> (Server, Workplace) {
    let place = place();
    let server = Server::start_with(&place, args);
    server.wait_ready(cores);
    (server, place)
}

/// The answer of the model of that name, which has to be one.
#[track_caller]
fn ask(client: &mut Client, model: &str) -> Value {
    let response = client
        .post(&format!("/predict/{model}"), &json!({"inputs": "the cat"}))
        .unwrap();
    assert_eq!(response.status, 200, "{model}: {response:?}");
    response.json()
}

#[track_caller]
fn check_both(server: &Server, [embed, classify]: [&str; 2]) {
    let embedding = ask(&mut server.client(), embed);
    assert!(embedding[0].is_number(), "{embedding}");
    let labels = ask(&mut server.client(), classify);
    assert!(labels.to_string().contains("label"), "{labels}");
}

#[test]
fn one_process_holds_the_models_of_a_core() {
    let args = [
        "--model",
        "a=embed",
        "--model",
        "b=classify",
        "--cores",
        "1",
        "--models-per-core",
        "2",
    ];
    let (server, _place) = started(&args, 1);
    check_both(&server, ["a", "b"]);
    assert_eq!(server.children().len(), 1);
    let health = server.get("/health/ready").json();
    assert_eq!(health["models"], json!(["a", "b"]));
    assert_eq!(health["cores"][0]["models"], json!(["a", "b"]));
    let unknown = server.post("/predict/c", &json!({"inputs": "the cat"}));
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.json()["error"]
            .as_str()
            .unwrap()
            .contains("served: `a` and `b`")
    );
    // Rows of both wait for the one worker, and each is answered by its own model.
    thread::scope(|scope| {
        for index in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut client = server.client();
                for turn in index..index + 20 {
                    let answer = ask(&mut client, ["a", "b"][turn % 2]);
                    assert_eq!(answer[0].is_number(), turn % 2 == 0, "{answer}");
                }
            });
        }
    });
}

#[test]
fn a_model_runs_on_its_own_cores_and_nowhere_else() {
    let args = [
        "--cores",
        "2",
        "--model",
        "a=embed@0",
        "--model",
        "b=classify@1",
    ];
    let (server, _place) = started(&args, 2);
    check_both(&server, ["a", "b"]);
    let workers = server.wait_ready(2);
    send(workers[1], Signal::STOP);
    // The other core is free, and does not help.
    let mut client = server.client();
    let asked = thread::spawn(move || ask(&mut client, "b"));
    assert_eq!(server.wait_handed_over(), 1);
    ask(&mut server.client(), "a");
    assert!(!asked.is_finished());
    send(workers[1], Signal::CONT);
    asked.join().unwrap();
}

#[test]
fn a_server_is_ready_when_every_model_is() {
    let place = place();
    let args = [
        "--cores",
        "2",
        "--model",
        "a=embed@0",
        "--model",
        "b=classify@1",
    ];
    let server = Server::start_with(&place, &args);
    let workers = server.wait_ready(2);
    send(workers[1], Signal::KILL);
    wait_until("the second core is not ready", || {
        (server.get("/health/ready").status == 503).then_some(())
    });
    ask(&mut server.client(), "a");
    server.wait_ready(2);
    assert_eq!(server.get("/health/ready").status, 200);
}

/// The first of `count` adjacent ports that are free, below those that the kernel gives to whoever asks for
/// any, and given out once: no other test comes between.
fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    wait_until("some adjacent ports are free", || {
        let first = NEXT.fetch_add(count, Ordering::Relaxed);
        (first..first + count).all(is_free).then_some(first)
    })
}

#[test]
fn the_port_of_a_core_answers_through_that_core_only() {
    let port = free_ports(2);
    let listen = port.to_string();
    let args = [
        "--cores",
        "2",
        "--model",
        "a=embed",
        "--model",
        "b=classify@1",
        "--models-per-core",
        "2",
        "--listen-per-core",
        &listen,
    ];
    let (server, _place) = started(&args, 2);
    let connect = |core: u16| Client::connect(([127, 0, 0, 1], port + core).into()).unwrap();
    let workers = server.wait_ready(2);
    send(workers[0], Signal::STOP);
    ask(&mut connect(1), "a");
    ask(&mut connect(1), "b");
    let mut first = connect(0);
    let asked = thread::spawn(move || ask(&mut first, "a"));
    assert_eq!(server.wait_handed_over(), 0);
    // Core 1 is free and has the model, and leaves the request alone.
    ask(&mut connect(1), "a");
    assert!(!asked.is_finished());
    send(workers[0], Signal::CONT);
    asked.join().unwrap();
    let elsewhere = connect(0)
        .post("/predict/b", &json!({"inputs": "the cat"}))
        .unwrap();
    assert_eq!(elsewhere.status, 404, "{elsewhere:?}");
    let health = connect(1).get("/health/ready").unwrap().json();
    assert_eq!(health["cores"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&health["cores"][0]["core"], &health["cores"][0]["models"]),
        (&json!("1"), &json!(["a", "b"]))
    );
}

#[test]
fn the_port_of_a_core_knows_of_an_alias_and_of_readiness_what_the_core_has() {
    let (place, port) = (place(), free_ports(2));
    let listen = port.to_string();
    let args = [
        "--cores",
        "2",
        "--model",
        "a=embed@0",
        "--model",
        "b=embed@1",
        "--listen-per-core",
        &listen,
        "--management-port",
        "0",
    ];
    let mut server = Server::start_with(&place, &args);
    let mut operator = Client::connect(server.management()).unwrap();
    server.wait_ready(2);
    let mut change = |method: &str, path: &str, body: &str| {
        let done = operator.send(method, path, body.as_bytes()).unwrap();
        assert_eq!(done.status, 200, "{done:?}");
    };
    let connect = |core: u16| Client::connect(([127, 0, 0, 1], port + core).into()).unwrap();
    let alias = "/admin/aliases/best";
    change("PUT", alias, r#"{"models": {"a": 1, "b": 1}}"#);
    for core in [0, 1, 0, 1, 0, 0, 1, 1] {
        let body = json!({"inputs": "the cat"});
        let answer = connect(core).post("/predict/best", &body).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["x-neuronc-cores"], core.to_string());
    }
    change("DELETE", alias, "");
    assert_eq!(connect(1).get("/health/ready").unwrap().status, 200);
    change("DELETE", "/admin/models/b?force=true", "");
    // Nothing is asked there that would be answered.
    assert_eq!(connect(1).get("/health/ready").unwrap().status, 503);
    assert_eq!(connect(0).get("/health/ready").unwrap().status, 200);
    assert_eq!(server.get("/health/ready").status, 200);
}

#[test]
fn a_file_says_the_whole_deployment_and_flags_win() {
    let place = place();
    let config = "
models:
  search: {bundle: embed, cores: 0}
  rank: {bundle: classify, cores: 0-1}
cores: 2
models_per_core: 2
listen: {host: 127.0.0.1, port: 1}
limits: {queue_rows: 3}
";
    std::fs::create_dir(place.path("deploy")).unwrap();
    std::fs::write(
        place.path("deploy/serve.yaml"),
        config
            .replace("embed", "../embed")
            .replace("classify", "../classify"),
    )
    .unwrap();
    let server = Server::start_with(&place, &["--config", "deploy/serve.yaml"]);
    server.wait_ready(2);
    check_both(&server, ["search", "rank"]);
    let many = server.post("/predict/search", &json!({"inputs": ["a", "b", "c", "d"]}));
    // No waiting would help.
    assert_eq!(
        (many.status, &many.json()["code"]),
        (422, &json!("too_many"))
    );
    assert!(!many.headers.contains_key("retry-after"), "{many:?}");
    let most = server.post("/predict/search", &json!({"inputs": ["a", "b", "c"]}));
    assert_eq!(most.status, 200, "{most:?}");
    assert_eq!(server.get("/info").json()["max_client_batch_size"], 3);
    drop(server);
    let flags = [
        "--config",
        "deploy/serve.yaml",
        "--model",
        "a=embed",
        "--cores",
        "1",
    ];
    let server = Server::start_with(&place, &flags);
    server.wait_ready(1);
    assert_eq!(server.get("/health/ready").json()["models"], json!(["a"]));
}

#[test]
fn the_settings_of_the_reference_become_a_deployment() {
    let place = place();
    std::fs::create_dir_all(place.path("old/fast-api")).unwrap();
    let properties = "#!/bin/bash\ndocker_image_name_prefix=bert-inf\ncompiled_model=embed.pt\nnum_cores=2\nnum_models_per_server=2\n";
    std::fs::write(place.path("old/config.properties"), properties).unwrap();
    std::fs::write(
        place.path("old/fast-api/.env"),
        "source .fun\nexport CHIP_TYPE=\"cpu\"\nexport MINE=1\n",
    )
    .unwrap();
    place
        .run(&["migrate", "old", "-o", "serve.yaml"])
        .succeeds();
    let text = std::fs::read_to_string(place.path("serve.yaml")).unwrap();
    for part in [
        "# fast-api/.env:2: CHIP_TYPE = cpu",
        "neuronc trace MODEL --chip cpu",
        "config.properties:2: docker_image_name_prefix",
        "fast-api/.env:3: MINE: unknown",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    std::fs::rename(place.path("embed"), place.path("embed-cpu")).unwrap();
    // The ports of the file may be taken here.
    let per_core = free_ports(2).to_string();
    let server = Server::start_with(
        &place,
        &[
            "--config",
            "serve.yaml",
            "--host",
            "127.0.0.1",
            "--listen-per-core",
            &per_core,
        ],
    );
    server.wait_ready(2);
    assert_eq!(
        ask(&mut server.client(), "model_0"),
        ask(&mut server.client(), "model_1")
    );
}
