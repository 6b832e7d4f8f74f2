//! HTTP/2: many requests share a connection, and each costs itself only.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{Request, Response};
use h2::RecvStream;
use h2::client::SendRequest;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::serve::connections::limited;
use crate::serve::server::Server;
use crate::serve::{PATIENCE, wait_until};

/// A client of HTTP/2 that knows that the server speaks it.
fn http2() -> reqwest::Client {
    reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_shares_a_connection_within_its_limit() {
    let server = limited("requests_per_connection: 2, connections: 1");
    let url = format!("http://{}{}", server.address, server.path());
    let client = http2();
    let ask = |index: usize| {
        let request = client
            .post(&url)
            .header("x-request-id", index)
            .body(r#"{"inputs": "the cat"}"#);
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.version(), reqwest::Version::HTTP_2);
            assert_eq!(response.headers()["x-request-id"], index.to_string());
            assert_eq!(response.status(), 200);
            response.json::<Value>().await.unwrap()
        }
    };
    // The first one makes the connection, and there is place for no other.
    let first = ask(0).await;
    let answers = futures::future::join_all((1..60).map(ask)).await;
    assert!(answers.iter().all(|answer| *answer == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_of_http2_is_closed_and_a_stalled_body_answered() {
    let server = limited("idle_seconds: 1, body_seconds: 1, connections: 1");
    let client = http2();
    let url = format!("http://{}/embed", server.address);
    let stalled =
        reqwest::Body::wrap_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let response = client.post(&url).body(stalled).send().await.unwrap();
    assert_eq!(response.status(), 408);
    assert_eq!(
        response.json::<Value>().await.unwrap()["error_type"],
        "Validation"
    );
    // Only once it is closed is there place for another.
    wait_until("the connection is closed", || {
        (server.get("/health/live").status == 200).then_some(())
    });
}

/// The path of an answer that is some pieces long.
const LONG: &str = "/openapi.json";

/// A connection with room for a part of a long answer, and for all of a short one.
async fn connected(server: &Server) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(30_000)
        .initial_connection_window_size(1 << 20)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// The head of the answer to a request of HTTP/2.
async fn asked(client: SendRequest<Bytes>, path: &str) -> Response<RecvStream> {
    let mut client = client.ready().await.unwrap();
    let request = Request::get(format!("http://t{path}"));
    let (response, _) = client
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    response.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_http2_that_are_not_taken_are_dropped_one_by_one() {
    let server = limited("body_seconds: 1");
    let client = connected(&server).await;
    let left = asked(client.clone(), LONG).await;
    assert_eq!(left.status(), 200);
    let mut left = left.into_body();
    let begun = Instant::now();
    // Whatever else is asked on its connection buys it no time.
    let error = loop {
        let mut other = asked(client.clone(), "/health/live").await.into_body();
        assert!(other.data().await.unwrap().is_ok());
        // The data that came stays unread: only its end is looked for.
        let end = futures::poll!(pin!(left.data()));
        if let Poll::Ready(Some(Err(error))) = end {
            break error;
        }
        assert!(begun.elapsed() < PATIENCE, "it is kept");
    };
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    // One that is taken comes to its end, on the same connection.
    let mut taken = asked(client, LONG).await.into_body();
    let mut size = 0;
    while let Some(data) = taken.data().await {
        size += data.as_ref().unwrap().len();
        let room = taken.flow_control();
        room.release_capacity(data.unwrap().len()).unwrap();
    }
    assert_eq!(size, server.get(LONG).body.len());
    assert!(size > 60_000, "{size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_http2_leaves_its_client_the_time_to_read_it() {
    let server = limited("body_bytes: 4096");
    let client = connected(&server).await;
    for (path, status) in [("/nothing", 404), ("/embed", 413)] {
        let mut ready = client.clone().ready().await.unwrap();
        let request = Request::post(format!("http://t{path}"));
        let request = request.header("content-length", "1000000").body(());
        let (response, mut sending) = ready.send_request(request.unwrap(), false).unwrap();
        let mut response = response.await.unwrap();
        assert_eq!(response.status(), status);
        while let Some(data) = response.body_mut().data().await {
            data.unwrap();
        }
        // What the server said of the stream came before the answer to another request.
        asked(client.clone(), "/health/live").await;
        let reset = poll_fn(|cx| Poll::Ready(sending.poll_reset(cx))).await;
        assert!(reset.is_pending(), "{path}: {reset:?}");
        sending.send_data(vec![b' '; 1000].into(), false).unwrap();
        asked(client.clone(), "/health/live").await;
        let reset = poll_fn(|cx| Poll::Ready(sending.poll_reset(cx))).await;
        assert!(reset.is_pending(), "{path}: {reset:?}");
    }
}
