//! The ports of the server, and what each is for.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// A port of the server.
#[derive(Debug)]
pub struct Listener {
    pub socket: TcpListener,
    pub role: ListenerRole,
}

/// What a port is for: who may ask there, and which workers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerRole {
    /// Requests, to any worker.
    All,
    /// Requests, to this worker alone, as an index into the placement.
    Worker(usize),
    /// Requests, to any worker, and changes by operators.
    Management,
}

/// Binds `address`, so that a port that is in use shows before anything is started.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
