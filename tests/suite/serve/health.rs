//! Liveness and readiness.

use rustix::process::Signal;
use serde_json::json;

use crate::serve::server::{Server, send, shapes, start};
use crate::serve::wait_until;
use crate::support::{Workplace, edit_json, fixture};

#[test]
fn a_server_is_live_at_once_and_ready_when_a_worker_is() {
    let server = start("feature-extraction", 1);
    server.wait_handed_over();
    let worker = server.children()[0];
    send(worker, Signal::STOP);
    assert_eq!(server.get("/health/live").status, 200);
    let waiting = server.get("/health/ready");
    assert_eq!(waiting.status, 503);
    let health = waiting.json();
    assert_eq!(health["status"], "not ready");
    assert_eq!(health["models"], json!(["feature-extraction"]));
    assert_eq!(health["cores"][0]["core"], "0");
    assert_eq!(health["cores"][0]["state"], "starting");

    send(worker, Signal::CONT);
    assert_eq!(server.wait_ready(1), [worker]);
    let ready = server.get("/health/ready");
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["status"], "ready");
}

#[test]
fn a_worker_on_which_a_bucket_does_not_run_is_never_ready() {
    let place = Workplace::new();
    let name = "feature-extraction";
    let bundle = place.traced(&fixture(name), "bundle", &shapes(name));
    edit_json(&bundle.join("manifest.json"), |manifest| {
        // The longest bucket gets the graph of the shortest one.
        let artifacts = manifest["artifacts"].as_array_mut().unwrap();
        let file = artifacts[0]["file"].clone();
        artifacts.last_mut().unwrap()["file"] = file;
    });
    let server = Server::start(&place, &bundle, 1);
    let cause = wait_until("the core says why it is down", || {
        let health = server.get("/health/ready");
        assert_eq!(health.status, 503, "{health:?}");
        let cause = health.json()["cores"][0]["cause"].as_str()?.to_owned();
        Some(cause)
    });
    assert!(cause.contains("warming up bucket 2x48"), "{cause}");
}

#[test]
fn one_ready_core_of_two_makes_a_server_ready() {
    let server = start("feature-extraction", 2);
    let worker = wait_until("both workers start", || {
        let workers = server.children();
        (server.waiting_cores().len() == 2).then(|| workers[0])
    });
    send(worker, Signal::STOP);
    let health = wait_until("the other worker is ready", || {
        let health = server.get("/health/ready");
        (health.status == 200).then(|| health.json())
    });
    let states: Vec<&str> = health["cores"]
        .as_array()
        .unwrap()
        .iter()
        .map(|core| core["state"].as_str().unwrap())
        .collect();
    assert!(
        states.contains(&"starting") && states.contains(&"ready"),
        "{health}"
    );
    send(worker, Signal::CONT);
    server.wait_ready(2);
}
