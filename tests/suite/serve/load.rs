//! Clients that ask one thing after the other and check every answer.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::serve::answers::check_close;
use crate::serve::client::Client;
use crate::serve::server::Server;
use crate::serve::{texts, wait_until};

/// Running clients; each has a connection of its own and asks for the vector of a text at a time.
pub(super) struct Load {
    shared: Arc<LoadState>,
    clients: Vec<JoinHandle<()>>,
}

struct LoadState {
    address: SocketAddr,
    path: String,
    /// Texts and their vectors.
    expected: Vec<(String, Value)>,
    answered: AtomicUsize,
    /// Told to stop asking.
    enough: AtomicBool,
    /// From now on a connection may be closed between two answers.
    closing: AtomicBool,
}

impl Load {
    pub(super) fn start(server: &Server, clients: usize) -> Self {
        let texts = texts(40);
        let vectors = server.answer(&json!(texts));
        let vectors = vectors.as_array().unwrap().iter().cloned();
        let shared = Arc::new(LoadState {
            address: server.address,
            path: server.path(),
            expected: texts.into_iter().zip(vectors).collect(),
            answered: AtomicUsize::new(0),
            enough: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        let start = |first| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.ask(first))
        };
        Self {
            clients: (0..clients).map(start).collect(),
            shared,
        }
    }

    /// Waits for so many more answers.
    #[track_caller]
    pub(super) fn wait_answers(&self, count: usize) {
        let answered = || self.shared.answered.load(Ordering::Relaxed);
        let enough = answered() + count;
        wait_until("the server answers under load", || {
            let failed = self.clients.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client gave up");
            (answered() >= enough).then_some(())
        });
    }

    /// From now on a connection may be closed between two answers.
    pub(super) fn server_closes(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
    }

    /// Ends the load; every answer of every client was the right one, and there was one for each
    /// request.
    #[track_caller]
    pub(super) fn finish(self) {
        self.shared.enough.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

impl LoadState {
    fn ask(&self, first: usize) {
        let mut client = Client::connect(self.address).unwrap();
        for (text, vector) in self.expected.iter().cycle().skip(first) {
            if self.enough.load(Ordering::SeqCst) {
                // Nothing is left of a connection that the server has closed.
                let rest = client.rest().unwrap_or_default();
                assert_eq!(rest, b"", "something was answered twice");
                return;
            }
            let body = json!({"inputs": text});
            match client.post(&self.path, &body) {
                Ok(response) => {
                    assert_eq!(response.status, 200, "{response:?}");
                    check_close(&response.json(), vector, &body);
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let closing = self.closing.load(Ordering::SeqCst);
                    assert!(
                        closing && error.kind() != ErrorKind::Other,
                        "no answer: {error}"
                    );
                    return;
                }
            }
        }
    }
}
