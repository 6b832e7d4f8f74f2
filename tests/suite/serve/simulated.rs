//! `--runtime simulated`: everything is real but the device, and every answer says so.

use rustix::process::Signal;
use serde_json::json;

use crate::serve::server::{Server, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

fn simulated(name: &str) -> (Server, Workplace) {
    let place = Workplace::new();
    let bundle = place.traced(&fixture(name), "bundle", &shapes(name));
    let bundle = bundle.display().to_string();
    let timings = "inf2/bert-base-uncased";
    let args = [&bundle, "--runtime", "simulated", "--timings", timings];
    let server = Server::start_with(&place, &args);
    wait_until("the server is ready", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    (server, place)
}

#[test]
fn every_answer_says_that_nothing_was_computed() {
    let (mut server, _place) = simulated("feature-extraction");
    let says = |response: &crate::serve::client::Response| {
        response.headers.get("x-neuronc-runtime").cloned()
    };
    let answer = server.predict(&json!({"inputs": "the cat"}));
    assert_eq!(answer.status, 200);
    assert_eq!(says(&answer).as_deref(), Some("simulated"));
    assert!(["0", "1"].contains(&answer.headers["x-neuronc-cores"].as_str()));
    let again = server.predict(&json!({"inputs": "the cat"}));
    assert_eq!(
        again.json(),
        answer.json(),
        "the same text has the same answer"
    );
    let refused = server.predict(&json!({"inputs": 7}));
    assert_eq!(
        (refused.status, says(&refused).as_deref()),
        (422, Some("simulated"))
    );
    let health = server.get("/health/ready");
    assert_eq!(health.json()["runtime"], "simulated");
    assert_eq!(server.get("/info").json()["runtime"], "simulated");
    assert_eq!(server.children(), [0u32; 0], "no worker process is started");
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());
    assert!(server.rest_of_stdout().contains("runtime: simulated"));
}

#[test]
fn every_task_gets_outputs_of_its_shape() {
    let requests = [
        ("feature-extraction", json!(["the cat", "the river"])),
        (
            "question-answering",
            json!({"question": "who?", "context": "the cat"}),
        ),
        ("text-classification", json!("the cat")),
        ("token-classification", json!("the cat")),
        ("fill-mask", json!("the [MASK]")),
    ];
    for (name, inputs) in requests {
        let (server, _place) = simulated(name);
        let response = server.predict(&json!({"inputs": inputs}));
        assert_eq!(response.status, 200, "{name}: {response:?}");
    }
}
