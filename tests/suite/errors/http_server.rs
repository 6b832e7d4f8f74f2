//! A server on loopback that answers what a case says, for commands that ask a server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// What is answered to requests for a path.
#[derive(Clone)]
pub(super) struct Route {
    /// The path, or `*` for any.
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) body: String,
}

/// Answers with the first of `routes` that has the path of a request, until the tests end.
pub(super) fn start(routes: Vec<Route>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let routes = routes.clone();
            thread::spawn(move || serve(stream, &routes));
        }
    });
    address
}

/// Answers one request after the other; each is small and comes in one read.
fn serve(mut stream: TcpStream, routes: &[Route]) {
    let mut buffer = [0; 1 << 16];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
        let request = String::from_utf8_lossy(&buffer[..bytes]);
        let asked = request.split(' ').nth(1).unwrap_or_default();
        let fits = |route: &&Route| route.path == "*" || route.path == asked;
        let (status, body) = match routes.iter().find(fits) {
            Some(route) => (route.status, route.body.as_str()),
            None => (404, ""),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
