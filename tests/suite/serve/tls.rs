//! TLS: who trusts the certificate is served, over either version of HTTP, and a new one is taken over.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::{Certificate, Client, Version};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::serve::server::{Running, Server, shapes};
use crate::serve::{PATIENCE, wait_until};
use crate::support::{Workplace, fixture};

const NAME: &str = "feature-extraction";

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap()
}

fn write(place: &Workplace, made: &CertifiedKey<KeyPair>) {
    fs::write(place.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(place.path("cert.pem"), made.cert.pem()).unwrap();
}

/// A server without a device, with that certificate.
fn server(made: &CertifiedKey<KeyPair>) -> Running {
    let place = Workplace::new();
    place.traced(&fixture(NAME), NAME, &shapes(NAME));
    write(&place, made);
    let file = format!(
        "models:\n  {NAME}: {{bundle: {NAME}}}\nlisten:\n  tls: {{cert: cert.pem, key: key.pem}}\n\
         limits: {{head_seconds: 1}}\n"
    );
    fs::write(place.path("serve.yaml"), file).unwrap();
    let timings = [
        "--runtime",
        "simulated",
        "--timings",
        "inf2/bert-base-uncased",
    ];
    let server = Server::start_with(
        &place,
        &[&["--config", "serve.yaml"], &timings[..]].concat(),
    );
    Running { server, place }
}

/// A client that trusts only that certificate.
fn client(made: &CertifiedKey<KeyPair>, is_http1: bool) -> Client {
    let trusted = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let builder = Client::builder().tls_certs_only([trusted]);
    match is_http1 {
        true => builder.http1_only().build().unwrap(),
        false => builder.build().unwrap(),
    }
}

async fn status(client: &Client, address: SocketAddr) -> Result<u16, reqwest::Error> {
    let url = format!("https://{address}/health/live");
    client
        .get(url)
        .send()
        .await
        .map(|response| response.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_http_are_spoken_to_who_trusts_the_certificate() {
    let made = certificate();
    let mut server = server(&made);
    let url = format!("https://{}{}", server.address, server.path());
    for (is_http1, version) in [(true, Version::HTTP_11), (false, Version::HTTP_2)] {
        let client = client(&made, is_http1);
        let mut answers = Vec::new();
        for _ in 0..3 {
            let request = client
                .post(&url)
                .body(json!({"inputs": "the cat"}).to_string());
            let response = request.send().await.unwrap();
            assert_eq!(
                (response.status().as_u16(), response.version()),
                (200, version)
            );
            answers.push(response.json::<Value>().await.unwrap());
        }
        assert!(
            answers
                .iter()
                .all(|answer| *answer == answers[0] && answer.is_array())
        );
    }
    assert!(
        status(&client(&certificate(), false), server.address)
            .await
            .is_err()
    );
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());
    let said = server.rest_of_stdout();
    assert!(
        said.contains("try: curl -d") && said.contains("https://"),
        "{said}"
    );
}

#[test]
fn a_client_that_does_not_shake_hands_is_cut() {
    let server = server(&certificate());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let begun = Instant::now();
    let end = stream.read(&mut [0; 16]);
    assert!(matches!(end, Ok(0)), "{end:?}");
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_over_and_a_broken_one_is_not() {
    let (old, new) = (certificate(), certificate());
    let server = server(&old);
    let kept = client(&old, true);
    assert_eq!(status(&kept, server.address).await.unwrap(), 200);
    fs::write(
        server.place.path("cert.pem"),
        "-----BEGIN CERTIFICATE-----\nbroken",
    )
    .unwrap();
    wait_until("the log says it", || {
        server.log().contains("what was there stays").then_some(())
    });
    assert_eq!(
        status(&client(&old, false), server.address).await.unwrap(),
        200
    );
    write(&server.place, &new);
    let ends = Instant::now() + PATIENCE;
    while status(&client(&new, false), server.address).await.is_err() {
        assert!(
            Instant::now() < ends,
            "the new certificate is not used: {}",
            server.log()
        );
    }
    assert!(status(&client(&old, false), server.address).await.is_err());
    assert_eq!(
        status(&kept, server.address).await.unwrap(),
        200,
        "its connection is still good"
    );
    assert!(!server.log().contains("BEGIN"), "{}", server.log());
}

#[test]
fn a_plain_connection_to_a_server_of_tls_is_told_so() {
    let server = server(&certificate());
    let mut client = server.client();
    let refused = client.get("/health/live").unwrap();
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (400, &json!("no_tls"))
    );
    assert_eq!(client.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    // What is neither is cut without a word.
    let mut garbage = server.client();
    garbage.write(b"\0\0\0\0\0").unwrap();
    garbage.read().unwrap_err();
}
