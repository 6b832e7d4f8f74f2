//! What users send is in no log, whatever becomes of it.

use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::serve::server::{send, serve};

/// In every text, name and path of this test; a word that nothing else has in it.
const SECRET: &str = "xylophone";

#[test]
fn no_text_of_a_request_is_logged() {
    let mut server = serve("feature-extraction", 1);
    let long = SECRET.repeat(500);
    let bodies = [
        json!({"inputs": SECRET}).to_string(),
        json!({"inputs": [long, SECRET]}).to_string(),
        json!({"inputs": format!("{SECRET} ").repeat(500)}).to_string(),
        json!({"inputs": {SECRET: SECRET}}).to_string(),
        json!({SECRET: SECRET}).to_string(),
        json!({"inputs": "the cat", "parameters": {SECRET: SECRET}}).to_string(),
        json!({"model": server.model, "input": SECRET, "user": SECRET}).to_string(),
        json!({"model": SECRET, "input": SECRET, "encoding_format": SECRET}).to_string(),
        format!("{{\"inputs\": \"{SECRET}"),
    ];
    for path in [
        server.path(),
        "/v1/embeddings".into(),
        format!("/predict/{SECRET}"),
        format!("/{SECRET}?q={SECRET}"),
    ] {
        for body in &bodies {
            server
                .client()
                .send("POST", &path, body.as_bytes())
                .unwrap();
        }
    }
    // And of one whose worker dies.
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    thread::scope(|scope| {
        let answer = scope.spawn(|| server.answer(&json!(SECRET)));
        server.wait_handed_over();
        send(worker, Signal::KILL);
        answer.join().unwrap();
    });
    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    let log = server.log();
    assert!(
        log.contains("worker ended") && log.contains("stopping"),
        "{log}"
    );
    assert!(!log.contains(SECRET), "{log}");
}
