//! API keys: who may ask for what, in the form of each protocol, and what the log says of it.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::client::{Client, Response};
use crate::serve::server::{Running, Server, send, serve, shapes};
use crate::serve::wait_until;
use crate::support::{Workplace, fixture};

const NAME: &str = "feature-extraction";

/// A key that `neuronc key` has made, and its lines for the file.
fn made(place: &Workplace, name: &str) -> (String, String) {
    let run = place.run(&["key", name, "--format", "json"]).succeeds();
    let made = run.json();
    let key = made["key"].as_str().unwrap().to_owned();
    let sha256 = made["sha256"].as_str().unwrap();
    assert!(key.len() > 40 && sha256.len() == 64, "{made}");
    (key, format!("- name: {name}\n  sha256: {sha256}\n"))
}

/// A server whose keys have these lines.
fn server(place: Workplace, lines: &str, more: &[&str]) -> Running {
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    fs::write(place.path("keys.yaml"), lines).unwrap();
    let args = [&[NAME, "--api-keys", "keys.yaml", "--cores", "1"], more].concat();
    let server = Server::start_with(&place, &args);
    server.wait_ready(1);
    Running { server, place }
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

fn ask(client: &mut Client, headers: &str) -> Response {
    let path = format!("/predict/{NAME}");
    client
        .ask("POST", &path, headers, &json!({"inputs": "the cat"}))
        .unwrap()
}

#[test]
fn without_a_key_only_health_is_answered() {
    let place = Workplace::new();
    let (key, lines) = made(&place, "team");
    let server = server(place, &lines, &[]);
    for path in [
        "/health/live",
        "/health/ready",
        "/health",
        "/ping",
        "/v2/health/live",
        "/v2/health/ready",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for (method, path, pointer, code) in [
        (
            "POST",
            "/predict/feature-extraction",
            "/code",
            "invalid_api_key",
        ),
        ("POST", "/v1/embeddings", "/error/code", "invalid_api_key"),
        ("POST", "/embed", "/error_type", "Validation"),
        (
            "POST",
            "/tei/feature-extraction/embed",
            "/error_type",
            "Validation",
        ),
        (
            "GET",
            "/v2",
            "/error",
            "there is no API key; send `authorization: Bearer KEY` or `x-api-key: KEY`",
        ),
        (
            "GET",
            "/predictions_neuron_core_0/model_0",
            "/code",
            "invalid_api_key",
        ),
        ("GET", "/openapi.json", "/code", "invalid_api_key"),
        ("GET", "/nowhere", "/code", "invalid_api_key"),
        ("GET", "/health/live/", "/code", "invalid_api_key"),
    ] {
        let response = server.client().send(method, path, b"").unwrap();
        assert_eq!(response.status, 401, "{path}: {response:?}");
        assert_eq!(
            response.json().pointer(pointer),
            Some(&json!(code)),
            "{path}"
        );
        assert_eq!(
            response.headers["www-authenticate"],
            r#"Bearer realm="neuronc""#
        );
    }
    let wrong = ask(&mut server.client(), &bearer(&format!("{key}x")));
    assert_eq!(wrong.status, 401);
    assert!(wrong.headers["www-authenticate"].contains("invalid_token"));
    for headers in [
        bearer(&key),
        format!("x-api-key: {key}\r\n"),
        bearer(&key)
            .to_lowercase()
            .replace(&key.to_lowercase(), &key),
    ] {
        assert_eq!(ask(&mut server.client(), &headers).status, 200, "{headers}");
    }
}

#[test]
fn a_key_has_so_many_requests_in_flight_and_a_second() {
    let place = Workplace::new();
    let (two, two_lines) = made(&place, "two");
    let (slow, slow_lines) = made(&place, "slow");
    let (free, free_lines) = made(&place, "free");
    let lines = format!(
        "{two_lines}  requests_in_flight: 2\n{slow_lines}  requests_per_second: 0.01\n{free_lines}  role: admin\n"
    );
    let mut server = server(place, &lines, &["--management-port", "0"]);
    let management = server.management();
    // In flight: a worker that stands still keeps two of them.
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    // Of different lengths, so that no batch has both.
    let held: Vec<Client> = ["the cat".to_owned(), "the cat ".repeat(10)]
        .iter()
        .map(|text| {
            let mut client = server.client();
            let body = json!({"inputs": text}).to_string();
            let head = format!(
                "POST {} HTTP/1.1\r\nhost: t\r\n{}content-length: {}\r\n\r\n{body}",
                server.path(),
                bearer(&two),
                body.len()
            );
            client.write(head.as_bytes()).unwrap();
            client
        })
        .collect();
    wait_until("one is on the worker, and the other waits", || {
        let mut client = Client::connect(management).unwrap();
        let models = client.ask("GET", "/admin/models", &bearer(&free), &json!({}));
        (models.unwrap().json()[0]["queue_rows"] == 1).then_some(())
    });
    let late = "x-neuronc-deadline-ms: 10\r\n";
    let refused = ask(&mut server.client(), &format!("{}{late}", bearer(&two)));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(
        (&refused.json()["code"], &*refused.headers["retry-after"]),
        (&json!("key_limit"), "1")
    );
    // It costs the others nothing.
    assert_eq!(
        ask(&mut server.client(), &format!("{}{late}", bearer(&free))).status,
        504
    );
    send(worker, Signal::CONT);
    for mut client in held {
        assert_eq!(client.read().unwrap().status, 200);
    }
    wait_until("they are no longer in flight", || {
        (ask(&mut server.client(), &bearer(&two)).status == 200).then_some(())
    });
    // A second: one at once, and the next after 100 s.
    assert_eq!(ask(&mut server.client(), &bearer(&slow)).status, 200);
    let refused = ask(&mut server.client(), &bearer(&slow));
    assert_eq!(refused.status, 429);
    let seconds: u64 = refused.headers["retry-after"].parse().unwrap();
    assert!((90..=100).contains(&seconds), "{seconds}");
    let tei = server
        .client()
        .ask("POST", "/embed", &bearer(&slow), &json!({"inputs": "x"}))
        .unwrap();
    assert_eq!(
        (tei.status, &tei.json()["error_type"]),
        (429, &json!("Overloaded"))
    );
}

#[test]
fn a_refusal_of_a_simulated_server_says_what_it_is() {
    let place = Workplace::new();
    let (key, lines) = made(&place, "slow");
    let lines = format!("{lines}  requests_per_second: 0.01\n");
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    fs::write(place.path("keys.yaml"), lines).unwrap();
    let timings = ["--timings", "inf2/bert-base-uncased"];
    let args = [NAME, "--api-keys", "keys.yaml", "--runtime", "simulated"];
    let server = Server::start_with(&place, &[&args[..], &timings].concat());
    wait_until("the server is ready", || {
        (server.get("/health/ready").status == 200).then_some(())
    });
    for (headers, status) in [
        (String::new(), 401),
        (bearer(&key), 200),
        (bearer(&key), 429),
    ] {
        let response = ask(&mut server.client(), &headers);
        assert_eq!(response.status, status, "{response:?}");
        assert_eq!(response.headers["x-neuronc-runtime"], "simulated");
    }
}

#[test]
fn a_changed_file_is_taken_over() {
    let place = Workplace::new();
    let (old, old_lines) = made(&place, "old");
    let (new, new_lines) = made(&place, "new");
    let server = server(place, &old_lines, &[]);
    let status = |key: &str| ask(&mut server.client(), &bearer(key)).status;
    assert_eq!((status(&old), status(&new)), (200, 401));
    let file = server.place.path("keys.yaml");
    fs::write(&file, "- name: x\n  sha256: hunter2\n").unwrap();
    wait_until("the log says it", || {
        server.log().contains("what was there stays").then_some(())
    });
    assert_eq!(status(&old), 200);
    fs::write(&file, format!("{old_lines}{new_lines}")).unwrap();
    wait_until("the new key is known", || {
        (status(&new) == 200).then_some(())
    });
    assert_eq!(status(&old), 200);
    // As Kubernetes does: what the link points to is another file.
    fs::write(server.place.path("next.yaml"), &new_lines).unwrap();
    std::os::unix::fs::symlink("next.yaml", server.place.path("link")).unwrap();
    fs::rename(server.place.path("link"), &file).unwrap();
    wait_until("the old key is not known any more", || {
        (status(&old) == 401).then_some(())
    });
    assert_eq!(status(&new), 200);
    fs::remove_file(&file).unwrap();
    wait_until("the log says that it is gone", || {
        (server.log().matches("what was there stays").count() == 2).then_some(())
    });
    assert_eq!(status(&new), 200);
    for secret in [&old, &new, "hunter2"] {
        assert!(!server.log().contains(secret), "{}", server.log());
    }
}

#[test]
fn names_of_requests_are_echoed_and_logged_when_asked_for() {
    let place = Workplace::new();
    let (key, lines) = made(&place, "team");
    let server = server(place, &lines, &["--log-requests"]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let secret = "xylophone";
    let headers = format!(
        "{}x-request-id: mine-1\r\ntraceparent: {trace}\r\n",
        bearer(&key)
    );
    let path = format!("{}?q={secret}", server.path());
    let answered = server
        .client()
        .ask("POST", &path, &headers, &json!({"inputs": secret}))
        .unwrap();
    assert_eq!(
        (answered.status, &*answered.headers["x-request-id"]),
        (200, "mine-1")
    );
    let refused = server
        .client()
        .ask(
            "GET",
            &format!("/{secret}"),
            "x-request-id: a b\r\n",
            &json!(0),
        )
        .unwrap();
    assert_eq!(refused.status, 401);
    let made = refused.headers["x-request-id"].clone();
    assert!(made.len() == 32 && made != "a b");
    let lines = wait_until("both are logged", || {
        let log = server.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<Value> = lines
            .filter(|line| {
                line["fields"]["message"] == "answered"
                    && line["fields"]["route"] != "/health/ready"
            })
            .collect();
        (lines.len() == 2).then_some(lines)
    });
    let (fields, span) = (&lines[0]["fields"], &lines[0]["span"]);
    assert_eq!(
        (&fields["method"], &fields["route"]),
        (&json!("POST"), &json!("/predict/{model}"))
    );
    assert_eq!(
        (&fields["status"], &fields["key"]),
        (&json!(200), &json!("team"))
    );
    assert!(fields["milliseconds"].as_f64().unwrap() > 0.0);
    assert!(fields["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(
        (&span["id"], &span["trace"]),
        (&json!("mine-1"), &json!(trace))
    );
    assert_eq!(
        (&lines[1]["fields"]["status"], &lines[1]["span"]["id"]),
        (&json!(401), &json!(made))
    );
    let log = server.log();
    assert!(!log.contains(secret) && !log.contains(&key), "{log}");
}

#[test]
fn without_keys_everybody_may_ask_and_nothing_is_logged() {
    let server = serve(NAME, 1);
    assert_eq!(ask(&mut server.client(), &bearer("anything")).status, 200);
    assert_eq!(server.get("/health/live").headers["x-request-id"].len(), 32);
    assert!(!server.log().contains("answered"), "{}", server.log());
}

#[test]
fn only_an_admin_manages() {
    let place = Workplace::new();
    let (user, lines) = made(&place, "team");
    let (admin, more) = made(&place, "operator");
    let lines = format!("{lines}{more}  role: admin\n");
    let mut server = server(place, &lines, &["--management-port", "0"]);
    let address = server.management();
    let ask = |method: &str, path: &str, key: Option<&str>| {
        let headers = key.map(bearer).unwrap_or_default();
        let mut client = Client::connect(address).unwrap();
        client.ask(method, path, &headers, &json!({})).unwrap()
    };
    for (key, status) in [(None, 401), (Some(&*user), 403), (Some(&*admin), 200)] {
        let looked = ask("GET", "/admin/status", key);
        assert_eq!(looked.status, status, "{looked:?}");
        let changed = ask("PUT", &format!("/admin/models/{NAME}"), key);
        assert_eq!(changed.status, status, "{changed:?}");
    }
    let unload = format!("/v2/repository/models/{NAME}/unload");
    assert_eq!(ask("POST", &unload, Some(&user)).status, 400);
    assert_eq!(ask("POST", &unload, Some(&admin)).status, 200);
}
