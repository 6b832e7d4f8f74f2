//! Connections that are slow, many, half closed or wrong: each costs itself, and nobody else.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::serve::client::{Client, Response};
use crate::serve::server::{Running, Server, send, serve, shapes};
use crate::serve::{PATIENCE, wait_until};
use crate::support::{Workplace, fixture};

pub(super) const NAME: &str = "feature-extraction";

/// A server without a device that has these limits.
pub(super) fn limited(limits: &str) -> Running {
    let place = Workplace::new();
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    let file = format!(
        "models:\n  {NAME}: {{bundle: {NAME}}}\nlimits: {{{limits}}}\nlisten: {{management_port: 0}}\n"
    );
    fs::write(place.path("serve.yaml"), file).unwrap();
    let timings = [
        "--runtime",
        "simulated",
        "--timings",
        "inf2/bert-base-uncased",
    ];
    let args = [&["--config", "serve.yaml"], &timings[..]].concat();
    Running {
        server: Server::start_with(&place, &args),
        place,
    }
}

/// A connection that a test reads and writes as it likes.
fn raw(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What is sent until the server ends the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(rest).unwrap(),
    }
}

/// True when the server has ended a connection that does not block.
fn is_cut(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn slow_heads_are_cut_and_nobody_else_waits() {
    const SLOW: usize = 400;
    let server = limited("head_seconds: 2");
    let begun = Instant::now();
    let slow = |index: usize| {
        let mut stream = raw(server.address);
        // Some stop in the first line, some after it, some before anything.
        let head: &[u8] = [&b"GET /pre"[..], b"GET / HTTP/1.1\r\nhost: t\r\n", b""][index % 3];
        stream.write_all(head).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut slow: Vec<TcpStream> = (0..SLOW).map(slow).collect();
    let opened = Instant::now();
    let mut client = server.client();
    let (mut slowest, mut asked) = (Duration::ZERO, 0);
    let mut first_cut = None;
    wait_until("slow clients are cut", || {
        for (index, stream) in slow.iter_mut().enumerate() {
            if index % 3 != 2 {
                // A byte now and then buys no time.
                let _ = stream.write(b"x");
            }
        }
        let asks = Instant::now();
        assert_eq!(client.get("/health/live").unwrap().status, 200);
        let body = json!({"inputs": "the cat"});
        assert_eq!(client.post(&server.path(), &body).unwrap().status, 200);
        slowest = slowest.max(asks.elapsed());
        asked += 2;
        slow.retain_mut(|stream| !is_cut(stream));
        if slow.len() < SLOW {
            first_cut.get_or_insert_with(|| begun.elapsed());
        }
        slow.is_empty().then_some(())
    });
    println!(
        "{SLOW} cut within {:?}; {asked} requests in between, at most {slowest:?}",
        opened.elapsed()
    );
    assert!(
        first_cut.unwrap() >= Duration::from_secs(2),
        "{first_cut:?}"
    );
    assert!(
        opened.elapsed() < Duration::from_secs(6),
        "{:?}",
        opened.elapsed()
    );
    assert!(
        asked >= 20 && slowest < Duration::from_secs(1),
        "{asked}: {slowest:?}"
    );
}

#[test]
fn an_idle_connection_is_kept_for_its_time_and_then_closed() {
    let server = limited("idle_seconds: 1.5, head_seconds: 0.2");
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.get("/health/live").unwrap().status, 200);
    }
    let begun = Instant::now();
    assert_eq!(client.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let took = begun.elapsed();
    let seconds = Duration::from_secs;
    assert!(took >= seconds(1) && took < seconds(4), "{took:?}");
}

#[test]
fn a_body_that_stalls_is_answered_408_in_the_form_of_its_protocol() {
    let server = limited("body_seconds: 1");
    let paths = [
        (server.path(), "/code", json!("body_too_slow")),
        (
            "/v1/embeddings".to_owned(),
            "/error/code",
            json!("body_too_slow"),
        ),
        ("/embed".to_owned(), "/error_type", json!("Validation")),
    ];
    for (path, pointer, code) in paths {
        let mut client = server.client();
        let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{{");
        client.write(head.as_bytes()).unwrap();
        let begun = Instant::now();
        let response = client.read().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(response.status, 408, "{response:?}");
        assert_eq!(response.json().pointer(pointer), Some(&code));
        assert_eq!(response.headers["connection"], "close");
        assert_eq!(client.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
    // One that trickles in gains no time.
    let mut stream = raw(server.address);
    write!(
        stream,
        "POST {} HTTP/1.1\r\nhost: t\r\ncontent-length: 9999\r\n\r\n",
        server.path()
    )
    .unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    wait_until("the connection is cut", || {
        let _ = stream.write(b"x");
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer) {
            Ok(0) => Some(()),
            Ok(count) => {
                answer.extend(&buffer[..count]);
                None
            }
            Err(error) => (error.kind() != ErrorKind::WouldBlock).then_some(()),
        }
    });
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
}

#[test]
fn large_bodies_have_so_much_room_together_and_small_ones_their_own() {
    let server = limited("bodies_bytes: 3145728");
    let large = |size: usize| {
        let mut body = br#"{"inputs": "the cat"}"#.to_vec();
        body.resize(size, b' ');
        body
    };
    let (size, path) = (2 << 20, server.path());
    let body = large(size);
    let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {size}\r\n\r\n");
    // Beside a body whose client keeps the last byte back there is no room for another one. While that
    // is on its way the other may win: then all begins anew.
    let beside = |path: &str| {
        wait_until("there is no room for another", || {
            let mut stalled = server.client();
            stalled.write(head.as_bytes()).unwrap();
            stalled.write(&body[..size - 1]).ok()?;
            let other = server.client().send("POST", path, &body).unwrap();
            let small = server.predict(&json!({"inputs": "the cat"}));
            assert_eq!(small.status, 200, "{small:?}");
            let smaller = server.client().send("POST", path, &large(1 << 19));
            assert_eq!(smaller.unwrap().status, 200, "there is room for less");
            stalled.write(&body[size - 1..]).ok()?;
            let is_answered = stalled.read().ok()?.status == 200;
            (is_answered && other.status != 200).then_some(other)
        })
    };
    let refused = beside(&path);
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (503, &json!("too_many_bytes"))
    );
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["connection"], "close");
    let tei = beside("/embed");
    assert_eq!(
        (tei.status, &tei.json()["error_type"]),
        (503, &json!("Overloaded"))
    );
    wait_until("there is room again", || {
        let response = server.client().send("POST", &path, &body).unwrap();
        (response.status == 200).then_some(())
    });
}

#[test]
fn a_client_that_takes_nothing_of_its_answers_is_cut() {
    let server = limited("body_seconds: 1");
    let mut stream = raw(server.address);
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: t\r\n\r\n".repeat(1000);
    let error = wait_until("the server gives up on it", || {
        stream.write_all(requests.as_bytes()).err()
    });
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    assert_eq!(server.get("/health/live").status, 200);
}

fn answer_after_interim(client: &mut Client) -> Response {
    let response = client.read().unwrap();
    match response.status {
        100 => client.read().unwrap(),
        _ => response,
    }
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let server = serve(NAME, 1);
    let worker = server.wait_ready(1)[0];
    let expected = server.answer(&json!("the cat"));
    let body = json!({"inputs": "the cat"}).to_string();
    let (path, length) = (server.path(), body.len());
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n{body}");
    for count in [1, 3] {
        send(worker, Signal::STOP);
        let mut client = server.client();
        client.write(request.repeat(count).as_bytes()).unwrap();
        client.end();
        server.wait_handed_over();
        send(worker, Signal::CONT);
        for _ in 0..count {
            let response = answer_after_interim(&mut client);
            assert_eq!((response.status, response.json()), (200, expected.clone()));
        }
        assert_eq!(client.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
    // HTTP/1.0 has no interim answers.
    let mut stream = raw(server.address);
    let old = request.replace("HTTP/1.1", "HTTP/1.0");
    stream.write_all(old.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[test]
fn a_request_that_is_cut_off_is_not_waited_for() {
    let server = limited("body_seconds: 3600");
    let mut client = server.client();
    client
        .write(b"POST /embed HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    client.end();
    let begun = Instant::now();
    let status = client.read().map(|response| response.status);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!matches!(status, Ok(200..=299)), "{status:?}");
}

#[test]
fn what_a_client_asked_for_that_has_gone_makes_room() {
    let place = Workplace::new();
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    // No time runs out while the test looks: only the client that goes makes room.
    let limits = "queue_rows: 1, request_seconds: 600, run_seconds: 290";
    let file = format!("models: {{m: {{bundle: {NAME}}}}}\ncores: 1\nlimits: {{{limits}}}\n");
    fs::write(place.path("serve.yaml"), file).unwrap();
    let server = Server::start_with(&place, &["--config", "serve.yaml"]);
    let worker = server.wait_ready(1)[0];
    send(worker, Signal::STOP);
    let ask = || {
        let mut client = server.client();
        let body = json!({"inputs": "the cat"}).to_string();
        let head = format!(
            "POST /predict/m HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.write((head + &body).as_bytes()).unwrap();
        client
    };
    let _running = ask();
    server.wait_handed_over();
    let late = "x-neuronc-deadline-ms: 20\r\n";
    let is_full = || {
        let response =
            server
                .client()
                .ask("POST", "/predict/m", late, &json!({"inputs": "the cat"}));
        response.unwrap().status == 429
    };
    let waiting = ask();
    server.wait_queued("m", 1);
    assert!(is_full());
    drop(waiting);
    wait_until("the queue has room", || (!is_full()).then_some(()));
    send(worker, Signal::CONT);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = limited("");
    let mut client = server.client();
    let request = |index: usize| {
        let body = json!({"inputs": "the cat"}).to_string();
        let (path, length) = match index % 3 {
            0 => (server.path(), body.len()),
            1 => ("/health/live".to_owned(), 0),
            _ => ("/nowhere".to_owned(), 0),
        };
        let method = if length > 0 { "POST" } else { "GET" };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: t\r\nx-request-id: {index}\r\ncontent-length: {length}\r\n\r\n{}",
            &body[..length]
        )
    };
    let all: String = (0..150).map(request).collect();
    client.write(all.as_bytes()).unwrap();
    for index in 0..150 {
        let response = client.read().unwrap();
        assert_eq!(response.status, [200, 200, 404][index % 3]);
        assert_eq!(response.headers["x-request-id"], index.to_string());
    }
    assert_eq!(client.rest().unwrap(), b"", "something was answered twice");
}
