//! Refusals that are no file below `tests/errors/http/`: large or odd bodies, a queue that is full, and
//! that they cost nobody else anything.

use std::fs;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::client::Response;
use crate::serve::server::{Server, send as send_signal, serve, shared};
use crate::serve::texts;
use crate::support::repository;

/// The response is a refusal with that status, code and field, and its message has all `parts`.
#[track_caller]
fn check(response: &Response, expected: (u16, &str, &str), parts: &[&str]) {
    assert_eq!(
        response.headers["content-type"], "application/json",
        "{response:?}"
    );
    let body = response.json();
    let field = body["field"].as_str().unwrap_or("");
    let code = body["code"].as_str().unwrap();
    assert_eq!((response.status, code, field), expected, "{body}");
    let message = body["error"].as_str().unwrap();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn send(server: &Server, body: &[u8]) -> Response {
    server.client().send("POST", &server.path(), body).unwrap()
}

#[test]
fn a_body_that_is_not_utf_8_is_refused_with_its_place() {
    let answer = send(&shared("feature-extraction"), b"{\"inputs\": \"\xff\"}");
    let parts = ["invalid unicode code point at line 1 column 13"];
    check(&answer, (400, "malformed_json", ""), &parts);
}

#[test]
fn a_text_that_is_too_long_is_refused_with_both_numbers_and_cut_when_asked() {
    let server = shared("feature-extraction");
    let text = "cat ".repeat(300);
    let refused = server.predict(&json!({"inputs": text}));
    check(
        &refused,
        (422, "too_long", "inputs"),
        &["302 tokens", "has 48", "\"truncate\": true"],
    );
    let cut = server.predict(&json!({"inputs": text, "parameters": {"truncate": true}}));
    assert_eq!(cut.status, 200);
    assert!(cut.headers["x-neuronc-buckets"].ends_with("x48"), "{cut:?}");
}

#[test]
fn a_megabyte_of_text_is_refused_and_the_server_goes_on() {
    let server = shared("feature-extraction");
    let text = "cat ".repeat(1 << 18);
    check(
        &server.predict(&json!({"inputs": text})),
        (422, "too_long", "inputs"),
        &["262146 tokens"],
    );
    let plain = shared("question-answering");
    let question = json!({"inputs": {"question": "cat?", "context": text}});
    check(
        &plain.predict(&question),
        (422, "too_many", "inputs.context"),
        &["1024"],
    );
    server.answer(&json!("the cat"));
    plain.answer(&json!({"question": "cat?", "context": "the cat"}));
}

#[test]
fn a_body_over_the_limit_is_refused_with_the_limit() {
    let server = shared("feature-extraction");
    let too_large = |response: &Response| {
        check(
            response,
            (413, "body_too_large", ""),
            &["2097152 bytes", "fewer inputs"],
        )
    };
    too_large(&send(&server, &vec![b' '; (2 << 20) + 1]));
    let mut body = b"{\"inputs\": \"the cat\"}".to_vec();
    body.resize(2 << 20, b' ');
    assert_eq!(send(&server, &body).status, 200);
    // A body that does not say how long it will be.
    let mut client = server.client();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n300000\r\n",
        server.path()
    );
    client.write(head.as_bytes()).unwrap();
    // The server may close the connection before it has read all of it.
    let _ = client.write(&vec![b' '; 0x30_0000]);
    too_large(&client.read().unwrap());
}

#[test]
fn a_compressed_body_is_refused_as_such() {
    let server = shared("feature-extraction");
    let mut client = server.client();
    let mut ask = |encoding: &str| {
        let path = server.path();
        let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-encoding: {encoding}\r\n");
        let body = json!({"inputs": "the cat"}).to_string();
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        client.write(request.as_bytes()).unwrap();
        client.read().unwrap()
    };
    assert_eq!(ask("identity").status, 200);
    let expected = (415, "unsupported_encoding", "");
    check(&ask("gzip"), expected, &["content-encoding", "as it is"]);
}

#[test]
fn a_body_in_chunks_is_a_body() {
    let server = shared("feature-extraction");
    let mut client = server.client();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n",
        server.path()
    );
    let chunks = "c\r\n{\"inputs\": \"\r\n9\r\nthe cat\"}\r\n0\r\n\r\n";
    client
        .write(&[&head, chunks].concat().into_bytes())
        .unwrap();
    let response = client.read().unwrap();
    assert_eq!(
        (response.status, response.json()),
        (200, server.answer(&json!("the cat")))
    );
}

#[test]
fn a_request_of_too_many_rows_is_refused() {
    let server = shared("feature-extraction");
    let many = server.predict(&json!({"inputs": vec!["the cat"; 1025]}));
    check(&many, (422, "too_many", "inputs"), &["1025 items", "1024"]);
    let most = server.answer(&json!(vec!["the cat"; 1024]));
    assert_eq!(most.as_array().unwrap().len(), 1024);
}

#[test]
fn more_rows_than_may_wait_are_refused_until_there_is_room() {
    let server = serve("feature-extraction", 1);
    let worker = server.wait_ready(1)[0];
    send_signal(worker, Signal::STOP);
    thread::scope(|scope| {
        let first = scope.spawn(|| server.answer(&json!(vec!["the cat"; 1024])));
        // Two rows are on the worker, the others wait.
        server.wait_handed_over();
        let full = server.predict(&json!({"inputs": ["a", "b", "c"]}));
        check(
            &full,
            (429, "queue_full", ""),
            &["1022 rows are waiting", "1024 may", "Retry-After"],
        );
        let seconds: u64 = full.headers["retry-after"].parse().unwrap();
        assert!((1..60).contains(&seconds), "{seconds}");
        send_signal(worker, Signal::CONT);
        assert_eq!(first.join().unwrap().as_array().unwrap().len(), 1024);
    });
    server.answer(&json!(["a", "b", "c"]));
}

#[test]
fn what_is_not_http_costs_the_others_nothing() {
    let server = shared("feature-extraction");
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..],
        b"GET\r\n\r\n",
        &[b'a'; 1 << 20],
    ] {
        let mut client = server.client();
        // The server may close the connection at once.
        let _ = client.write(garbage);
        if let Ok(response) = client.read() {
            assert!((400..500).contains(&response.status), "{response:?}");
        }
        server.answer(&json!("the cat"));
    }
}

#[test]
fn every_code_is_documented() {
    let source = fs::read_to_string(repository().join("src/serve/request/refusal.rs")).unwrap();
    let page = fs::read_to_string(repository().join("docs/serve.md")).unwrap();
    let names = source
        .lines()
        .filter(|line| line.trim().starts_with("Code::"));
    let names: Vec<&str> = names.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "docs/serve.md lacks `{name}`"
        );
    }
}

#[test]
fn bad_requests_cost_the_others_nothing() {
    let server = shared("feature-extraction");
    let texts = texts(20);
    let expected: Vec<Value> = texts
        .iter()
        .map(|text| server.answer(&json!(text)))
        .collect();
    thread::scope(|scope| {
        for bad in ["{\"inputs\":", "{\"inputs\": \"\"}", "{\"inputs\": [[[]]]}"] {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..50 {
                    assert!(send(server, bad.as_bytes()).status >= 400);
                }
            });
        }
        for (text, expected) in texts.iter().zip(&expected) {
            assert_eq!(server.answer(&json!(text)), *expected);
        }
    });
}
