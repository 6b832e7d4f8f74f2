//! Bad input over HTTP: a status, a stable code, and a message that names the thing and the remedy.

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
fn malformed_json_is_refused_with_its_place() {
    let server = shared("feature-extraction");
    let malformed = |body: &[u8], part: &str| {
        check(
            &send(&server, body),
            (400, "malformed_json", ""),
            &["not JSON", part],
        );
    };
    malformed(b"", "line 1 column 0");
    malformed(b"the cat", "line 1 column 2");
    malformed(b"{\"inputs\":\n \"the cat\"", "line 2 column 10");
    malformed(b"{\"inputs\": \"a\"} {}", "line 1 column 17");
    malformed(
        b"{\"inputs\": \"\xff\"}",
        "invalid unicode code point at line 1 column 13",
    );
    malformed(br#"{"inputs": "\ud800"}"#, "line 1 column 19");
    malformed(&[b'['; 100_000], "recursion limit");
}

#[test]
fn wrong_types_and_unknown_fields_are_named() {
    let server = shared("feature-extraction");
    let invalid = |body: Value, (code, field): (&str, &str), part: &str| {
        check(&server.predict(&body), (422, code, field), &[part]);
    };
    invalid(
        json!([]),
        ("wrong_type", ""),
        "the body must be an object, not a list",
    );
    invalid(
        json!({}),
        ("missing_field", "inputs"),
        "`inputs` is missing",
    );
    invalid(
        json!({"inputs": 7}),
        ("wrong_type", "inputs"),
        "a string or a list of them, not a number",
    );
    invalid(
        json!({"inputs": ["the cat", null]}),
        ("wrong_type", "inputs[1]"),
        "a string, not null",
    );
    invalid(
        json!({"inputs": "", "parameters": []}),
        ("wrong_type", "parameters"),
        "an object, not a list",
    );
    invalid(
        json!({"input": "the cat"}),
        ("unknown_field", "input"),
        "did you mean `inputs`?",
    );
    invalid(
        json!({"inputs": "the cat", "parameters": {"normalise": true}}),
        ("unknown_field", "parameters.normalise"),
        "did you mean `normalize`?",
    );
    invalid(
        json!({"inputs": "the cat", "options": {"use_gpu": true}}),
        ("unknown_field", "options.use_gpu"),
        "use_cache",
    );
    invalid(
        json!({"inputs": "the cat", "options": {"wait_for_model": 1}}),
        ("wrong_type", "options.wait_for_model"),
        "true or false",
    );
    let options = json!({"inputs": "the cat", "options": {"wait_for_model": true}});
    assert_eq!(server.predict(&options).status, 200);
    invalid(
        json!({"inputs": "the cat", "parameters": {"truncate": "yes"}}),
        ("wrong_type", "parameters.truncate"),
        "true or false",
    );
}

#[test]
fn a_text_without_tokens_is_refused() {
    let server = shared("feature-extraction");
    for (inputs, field) in [
        (json!(""), "inputs"),
        (json!(" \n\u{200b}"), "inputs"),
        (json!(["the cat", ""]), "inputs[1]"),
        (json!([]), "inputs"),
    ] {
        check(
            &server.predict(&json!({"inputs": inputs})),
            (422, "empty", field),
            &["empty"],
        );
    }
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
fn unknown_models_routes_and_methods_are_answered_with_what_there_is() {
    let server = shared("feature-extraction");
    let body = json!({"inputs": "the cat"});
    for path in [
        "/predict/other",
        "/predict/%ff",
        "/predict/feature-extraction%2Fx",
    ] {
        check(
            &server.post(path, &body),
            (404, "unknown_model", ""),
            &["served: `feature-extraction`"],
        );
    }
    for path in [
        "/nothing",
        "/predicts",
        "/predict/feature-extraction/",
        "/%ff",
    ] {
        check(
            &server.post(path, &body),
            (404, "unknown_route", ""),
            &[path, "GET /openapi.json"],
        );
    }
    let wrong = |method: &str, path: &str, allowed: &str| {
        let response = server.client().send(method, path, b"{}").unwrap();
        check(
            &response,
            (405, "wrong_method", ""),
            &[path, method, "GET /openapi.json"],
        );
        assert!(response.headers["allow"].contains(allowed), "{response:?}");
    };
    wrong("GET", &server.path(), "POST");
    wrong("POST", "/health/ready", "GET");
}

#[test]
fn unknown_routes_and_methods_are_answered_in_the_form_of_their_protocol() {
    let server = shared("feature-extraction");
    for (method, path, (status, place, code)) in [
        (
            "POST",
            "/v1/embedding",
            (404, "/error/code", "unknown_route"),
        ),
        (
            "PUT",
            "/v1/embeddings",
            (405, "/error/code", "wrong_method"),
        ),
        ("PUT", "/embed", (405, "/error_type", "Validation")),
        ("POST", "/tei/a/b/c", (404, "/error_type", "Validation")),
    ] {
        let answer = server.client().send(method, path, b"{}").unwrap();
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.json().pointer(place), Some(&json!(code)), "{path}");
    }
    for (method, path, status) in [("POST", "/v2/modules", 404), ("PUT", "/v2", 405)] {
        let answer = server.client().send(method, path, b"{}").unwrap();
        assert_eq!(answer.status, status);
        let answer = answer.json();
        assert!(answer["error"].as_str().unwrap().contains(path), "{answer}");
        assert_eq!(answer.as_object().unwrap().len(), 1);
    }
}

#[test]
fn a_question_that_leaves_no_room_is_refused() {
    let server = shared("question-answering");
    let ask = |question: &str, context: &str| {
        server.predict(&json!({"inputs": {"question": question, "context": context}}))
    };
    let refused = ask(&"cat ".repeat(70), "the cat");
    check(
        &refused,
        (422, "no_room", "inputs.question"),
        &["room for 0 tokens", "window of 64"],
    );
    check(
        &ask("", "the cat"),
        (422, "empty", "inputs.question"),
        &["empty"],
    );
    check(
        &ask("who?", ""),
        (422, "empty", "inputs.context"),
        &["empty"],
    );
    let missing = server.predict(&json!({"inputs": {"question": "who?"}}));
    check(
        &missing,
        (422, "missing_field", "inputs.context"),
        &["`inputs.context` is missing"],
    );
}

#[test]
fn a_text_to_fill_needs_a_mask() {
    let server = shared("fill-mask");
    let response = server.predict(&json!({"inputs": "the cat"}));
    check(&response, (422, "no_mask", "inputs"), &["[MASK]"]);
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
    let source = fs::read_to_string(repository().join("src/serve/http/answer.rs")).unwrap();
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
