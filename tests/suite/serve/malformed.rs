//! Heads that are not HTTP: answered 400 or cut off, and the server lives.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::serve::PATIENCE;
use crate::serve::connections::limited;
use crate::serve::server::{Running, shared_as};
use crate::support::property_cases;

fn server() -> Arc<Running> {
    shared_as("malformed", || limited("head_seconds: 5, body_seconds: 5"))
}

/// All that the server answers to `bytes` and then nothing.
fn answer(server: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have seen enough before the end.
    if stream.write_all(bytes).is_ok() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

#[test]
fn what_is_not_http_is_answered_400() {
    let server = server();
    let long = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(100 << 10));
    for (head, status) in [
        ("\0\0\0\0\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("GET /\x01 HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\rb\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: x\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: what\r\n\r\n",
            400,
        ),
        (&long, 431),
    ] {
        let answer = String::from_utf8(answer(&server, head.as_bytes())).unwrap();
        let begin: String = head.chars().take(60).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{begin:?}: {answer}"
        );
    }
    assert_eq!(server.get("/health/live").status, 200);
}

/// Requests in which some bytes are others, more or fewer.
fn almost_a_request() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        "POST /embed HTTP/1.1\r\nhost: t\r\ncontent-length: 17\r\n\r\n{\"inputs\": \"cat\"}",
        "GET /health/live HTTP/1.1\r\nhost: t\r\nx-request-id: 1\r\nauthorization: Bearer x\r\n\r\n",
        "POST /v1/embeddings HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ]);
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6);
    (whole, changes).prop_map(|(whole, changes)| {
        let mut bytes = whole.as_bytes().to_vec();
        for (place, byte, what) in changes {
            let place = place
                .index(bytes.len().max(1))
                .min(bytes.len().saturating_sub(1));
            match what {
                0 if !bytes.is_empty() => bytes[place] = byte,
                1 if !bytes.is_empty() => drop(bytes.remove(place)),
                2 => bytes.truncate(place),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    })
}

#[test]
fn no_bytes_end_the_server() {
    let server = server();
    let noise = prop::collection::vec(any::<u8>(), 0..600);
    let bytes = prop_oneof![
        noise,
        almost_a_request(),
        almost_a_request(),
        almost_a_request()
    ];
    let mut runner = TestRunner::new(Config::with_cases(property_cases(600)));
    let outcome = runner.run(&bytes, |bytes| {
        let answer = answer(&server, &bytes);
        let is_http = answer.is_empty()
            || answer.starts_with(b"HTTP/1.")
            // The settings of HTTP/2 are a frame of type 4.
            || answer.get(3) == Some(&4);
        prop_assert!(is_http, "{}", String::from_utf8_lossy(&answer));
        prop_assert!(
            !answer.starts_with(b"HTTP/1.1 5"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    });
    outcome.unwrap();
    assert_eq!(server.get("/health/live").status, 200);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
