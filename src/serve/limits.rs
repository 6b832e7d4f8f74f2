//! The limits of the server: how many of each thing there may be at a time, and how long each may take.

use std::time::Duration;

/// The bounds of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, of all ports.
    pub connections: usize,
    /// Requests at a time of one connection.
    pub requests_per_connection: usize,
    /// How long a client may take to connect and to send the head of a request.
    pub head: Duration,
    /// How long it may take to send a body, and to take something of an answer.
    pub body: Duration,
    /// How long a connection is kept on which nothing is asked.
    pub idle: Duration,
    /// The largest body of a request.
    pub body_bytes: usize,
    /// Bytes of bodies that the server holds at a time, beyond the first few thousand of each.
    pub bodies_bytes: usize,
    /// Rows of one model that may wait for a core; more are refused with 429.
    pub queue_rows: usize,
    /// How long a request may take from the end of its body, waiting included.
    pub request: Duration,
    /// How long one batch may take on a worker before the worker counts as hung, unless its bucket is
    /// known to be slow. Less than half of `request`, so that the batch can be run elsewhere, unless
    /// `request` alone was made shorter.
    pub run: Duration,
    /// How long the server, told to stop, only says so in its readiness and goes on.
    pub notice: Duration,
    /// How long accepted requests may take after that.
    pub drain: Duration,
    /// How long workers may take to close after the last answer.
    pub close: Duration,
}

impl Limits {
    pub const STANDARD: Limits = Limits {
        connections: 16_384,
        requests_per_connection: 128,
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        // Longer than the load balancers of clouds keep theirs, who must be the ones to close.
        idle: Duration::from_secs(75),
        body_bytes: 2 << 20,
        bodies_bytes: 256 << 20,
        queue_rows: 1024,
        request: Duration::from_secs(30),
        run: Duration::from_secs(10),
        notice: Duration::from_secs(1),
        drain: Duration::from_secs(30),
        close: Duration::from_secs(5),
    };
}

// What a worker hangs on can still be run by another one.
const _: () = assert!(2 * Limits::STANDARD.run.as_secs() < Limits::STANDARD.request.as_secs());
