//! The context of the request that runs in a task: its deadline, its size, and the memory of its body.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::serve::limits::Limits;
use crate::serve::request::body_budget::BodyShare;
use crate::serve::request::refusal::Refusal;

/// Requests of up to this many bytes are worked on where they arrive: that takes less than a millisecond,
/// and handing one to another thread and back costs the processors more than it saves.
pub(crate) const SMALL_BYTES_MAX: usize = 4 << 10;

tokio::task_local! {
    static CONTEXT: RequestContext;
}

/// The deadline and the size of a request. The functions of this module are about the context of the task
/// that calls them.
pub(crate) struct RequestContext {
    /// The deadline that the client gives, or the refusal of one that cannot be read: the protocol of the
    /// request decides how that is answered.
    wanted: Result<Option<Instant>, Refusal>,
    /// The end of the server's own limit.
    limit: Cell<Instant>,
    /// Bytes to work on: those of the path, and those of the body that have come.
    bytes: Cell<usize>,
    /// The share that a large body has of the memory for all bodies.
    body: OnceCell<Arc<BodyShare>>,
}

impl RequestContext {
    /// The context of a request that begins now, with the time in which its client wants the answer, the
    /// server's limit, and the bytes of its head that are worked on.
    pub(crate) fn new(
        wanted: Result<Option<Duration>, Refusal>,
        limit: Duration,
        bytes: usize,
    ) -> Self {
        let now = Instant::now();
        Self {
            // A time that is too long to be added is no limit.
            wanted: wanted.map(|wanted| wanted.and_then(|wanted| now.checked_add(wanted))),
            limit: Cell::new(now + limit),
            bytes: Cell::new(bytes),
            body: OnceCell::new(),
        }
    }

    /// BucketCounters `request` in this context.
    pub(crate) async fn scope<F: Future>(self, request: F) -> F::Output {
        CONTEXT.scope(self, request).await
    }
}

/// The deadline that the client gives.
pub(crate) fn client_deadline() -> Result<Option<Instant>, Refusal> {
    let wanted = CONTEXT.try_with(|context| context.wanted.clone());
    wanted.unwrap_or(Ok(None))
}

/// The deadline of the request: the client's, or the end of the server's limit where that is earlier.
pub(crate) fn deadline() -> Result<Instant, Refusal> {
    let deadline = CONTEXT.try_with(|context| {
        let (wanted, limit) = (context.wanted.clone()?, context.limit.get());
        Ok(wanted.map_or(limit, |wanted| wanted.min(limit)))
    });
    deadline.unwrap_or_else(|_| Ok(Instant::now() + Limits::STANDARD.request))
}

/// Lets the server's limit begin now, after a body that had to be waited for: waiting has a limit of its own.
pub(crate) fn restart_limit(limit: Duration) {
    // Outside of a request there is nothing to note.
    let _ = CONTEXT.try_with(|context| context.limit.set(Instant::now() + limit));
}

/// Notes bytes of the body that have come.
pub(crate) fn add_bytes(bytes: usize) {
    let _ = CONTEXT.try_with(|context| context.bytes.set(context.bytes.get() + bytes));
}

/// Keeps the share of the body until the request is answered.
pub(crate) fn keep_body(share: Arc<BodyShare>) {
    // A request has one body.
    let _ = CONTEXT.try_with(|context| context.body.set(share));
}

/// The share of the body, for work that may outlive the request.
pub(crate) fn body_share() -> Option<Arc<BodyShare>> {
    let share = CONTEXT.try_with(|context| context.body.get().cloned());
    share.unwrap_or(None)
}

/// True where the request is so small that handing it to another thread costs more than it saves.
pub(crate) fn is_small() -> bool {
    let is_small = CONTEXT.try_with(|context| context.bytes.get() <= SMALL_BYTES_MAX);
    is_small.unwrap_or(false)
}
