//! Time that runs out: a request's, the server's own for a request, and that for stopping.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::serve::client::Response;
use crate::serve::server::{Running, Server, is_gone, send, serve, shapes, shared};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

/// A server whose limits are those of a file.
fn limited(limits: &str) -> Running {
    let place = Workplace::new();
    let name = "feature-extraction";
    place.traced(&fixture(name), name, &shapes(name));
    let file = format!("models:\n  {name}: {{bundle: {name}}}\ncores: 1\nlimits:\n  {limits}\n");
    fs::write(place.path("serve.yaml"), file).unwrap();
    let server = Server::start_with(&place, &["--config", "serve.yaml"]);
    server.wait_ready(1);
    Running { server, place }
}

/// A request with that header.
fn post_with(server: &Server, path: &str, header: &str, body: &str) -> Response {
    let mut client = server.client();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\n{header}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write(head.as_bytes()).unwrap();
    client.read().unwrap()
}

#[test]
fn a_request_says_when_its_answer_is_no_use_any_more() {
    let server = serve("feature-extraction", 1);
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let name = "feature-extraction";
    let native = json!({"inputs": "the cat"}).to_string();
    let openai = json!({"model": name, "input": "the cat"}).to_string();
    let tensor = json!({"name": "text", "datatype": "BYTES", "shape": [1], "data": ["the cat"]});
    let kserve = json!({"inputs": [tensor]}).to_string();
    let late = "x-neuronc-deadline-ms: 50";
    let mut first = server.client();
    let path = server.path();
    let first = thread::spawn(move || first.post(&path, &json!({"inputs": "the cat"})));
    server.wait_handed_over();
    let begun = Instant::now();
    let response = post_with(&server, &server.path(), late, &native);
    assert_eq!(
        (response.status, &response.json()["code"]),
        (504, &json!("deadline_exceeded"))
    );
    let response = post_with(&server, "/v1/embeddings", late, &openai);
    assert_eq!(
        (response.status, &response.json()["error"]["code"]),
        (504, &json!("deadline_exceeded"))
    );
    let response = post_with(&server, "/embed", late, &native);
    assert_eq!(
        (response.status, &response.json()["error_type"]),
        (504, &json!("Overloaded"))
    );
    let response = post_with(&server, &format!("/v2/models/{name}/infer"), late, &kserve);
    assert_eq!(response.status, 504);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "far below the server's own limit"
    );
    let response = post_with(
        &server,
        &server.path(),
        "x-neuronc-deadline-ms: soon",
        &native,
    );
    assert_eq!(
        (response.status, &response.json()["code"]),
        (400, &json!("bad_header"))
    );
    send(worker, Signal::CONT);
    assert_eq!(first.join().unwrap().unwrap().status, 200);
    assert_eq!(
        post_with(
            &server,
            &server.path(),
            "x-neuronc-deadline-ms: 60000",
            &native
        )
        .status,
        200
    );
    // The rows that nobody waited for were not run.
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let rows = metrics
        .lines()
        .filter(|line| line.starts_with("neuronc_rows_total{"));
    let rows = rows.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(rows.sum::<u64>(), 2, "{metrics}");
}

#[test]
fn a_deadline_covers_the_body_and_the_work_on_it() {
    let server = shared("feature-extraction");
    let begun = Instant::now();
    // A body that does not come.
    let mut client = server.client();
    let path = server.path();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: t\r\nx-neuronc-deadline-ms: 50\r\ncontent-length: 100\r\n\r\n{{"
    );
    client.write(head.as_bytes()).unwrap();
    let response = client.read().unwrap();
    assert_eq!(
        (response.status, &response.json()["code"]),
        (504, &json!("deadline_exceeded"))
    );
    assert_eq!(response.headers["connection"], "close");
    assert_eq!(client.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "far below the limit of a body"
    );
    // A text that takes longer to read than its client waits.
    let body = json!({"inputs": "cat ".repeat(1 << 18)}).to_string();
    let response = post_with(&server, &path, "x-neuronc-deadline-ms: 5", &body);
    assert_eq!(
        (response.status, &response.json()["code"]),
        (504, &json!("deadline_exceeded"))
    );
    assert_eq!(server.predict(&json!({"inputs": "the cat"})).status, 200);
}

#[test]
fn a_slow_body_takes_nothing_of_the_time_for_its_answer() {
    let server = limited("request_seconds: 1");
    let mut client = server.client();
    let body = json!({"inputs": "the cat"}).to_string();
    let spaces = 100_000;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
        server.path(),
        body.len() + spaces
    );
    client.write(head.as_bytes()).unwrap();
    let begun = Instant::now();
    let mut left = spaces;
    wait_until("it takes longer than a request may", || {
        let count = left.min(10);
        client.write(&vec![b' '; count]).unwrap();
        left -= count;
        (begun.elapsed() > Duration::from_millis(1500)).then_some(())
    });
    client.write(&vec![b' '; left]).unwrap();
    client.write(body.as_bytes()).unwrap();
    let response = client.read().unwrap();
    assert_eq!(response.status, 200, "{response:?}");
}

#[test]
fn the_servers_own_limit_holds_for_requests_that_ask_for_more() {
    let server = limited("request_seconds: 1");
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let body = json!({"inputs": "the cat"}).to_string();
    let response = post_with(
        &server,
        &server.path(),
        "x-neuronc-deadline-ms: 600000",
        &body,
    );
    assert_eq!(
        (response.status, &response.json()["code"]),
        (504, &json!("deadline_exceeded"))
    );
    send(worker, Signal::CONT);
}

#[test]
fn the_drain_ends_when_its_time_is_over() {
    let mut server = limited("drain_seconds: 1");
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let (mut waiting, path) = (server.client(), server.path());
    let waiting = thread::spawn(move || waiting.post(&path, &json!({"inputs": "the cat"})));
    server.wait_handed_over();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    assert!(
        server
            .log()
            .contains("requests were still open when the drain ended"),
        "{}",
        server.log()
    );
    let refused = waiting.join().unwrap().unwrap();
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("stopping"))
    );
    wait_until("the worker ends", || is_gone(worker).then_some(()));
}
