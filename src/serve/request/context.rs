//! What is known of the request that runs in a task: until when it has to be answered, and how much
//! work it is.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::http::answer::{Code, Refusal};
use crate::serve::request::body_budget::Held;
use crate::serve::{Entrance, Limits};

/// In how many milliseconds the client wants its answer, if that is less than the server's own limit.
const DEADLINE_HEADER: &str = "x-neuronc-deadline-ms";

/// Requests of up to so many bytes are worked on where they arrive: that takes less than a millisecond,
/// and handing one to another thread and back costs the processors more than it saves.
pub(crate) const SMALL_BYTES_MAX: usize = 4 << 10;

tokio::task_local! {
    static SCOPE: Scope;
}

struct Scope {
    /// When the client wants its answer, if it says so, or why what it says cannot be read: its
    /// protocol decides how that is answered.
    asked: Result<Option<Instant>, Refusal>,
    /// When the server's own limit ends.
    limit: Cell<Instant>,
    /// Bytes that are there to be worked on: of the path, and of the body as far as it came.
    bytes: Cell<usize>,
    /// What a large body takes of the room for all of them.
    held: OnceCell<Arc<Held>>,
}

/// Has each request know its own.
pub(crate) async fn of_request(
    State(entrance): State<Entrance>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let asked = asked_time(request.headers());
    let uri = request.uri();
    let scope = Scope {
        // What is too far away to be a moment is no limit.
        asked: asked.map(|asked| asked.and_then(|asked| begun.checked_add(asked))),
        limit: Cell::new(begun + entrance.served.limits.request),
        bytes: Cell::new(uri.path().len() + uri.query().map_or(0, str::len)),
        held: OnceCell::new(),
    };
    SCOPE.scope(scope, next.run(request)).await
}

fn asked_time(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(DEADLINE_HEADER) else {
        return Ok(None);
    };
    let milliseconds = value.to_str().ok().and_then(|text| text.parse().ok());
    let time = milliseconds.map(Duration::from_millis);
    time.map(Some).ok_or_else(|| {
        Refusal::new(
            Code::BadHeader,
            format!("`{DEADLINE_HEADER}` must be a whole number of milliseconds"),
        )
    })
}

/// When the client wants its answer, if it says so.
pub(crate) fn asked() -> Result<Option<Instant>, Refusal> {
    let asked = SCOPE.try_with(|scope| scope.asked.clone());
    asked.unwrap_or(Ok(None))
}

/// When the request has to be answered.
pub(crate) fn deadline() -> Result<Instant, Refusal> {
    let deadline = SCOPE.try_with(|scope| {
        let (asked, limit) = (scope.asked.clone()?, scope.limit.get());
        Ok(asked.map_or(limit, |asked| asked.min(limit)))
    });
    deadline.unwrap_or_else(|_| Ok(Instant::now() + Limits::STANDARD.request))
}

/// The body had to be waited for: it has a limit of its own, and that of the answer begins now.
pub(crate) fn has_waited(limit: Duration) {
    // There is nothing to note outside of a request.
    let _ = SCOPE.try_with(|scope| scope.limit.set(Instant::now() + limit));
}

/// So many bytes of the body are there.
pub(crate) fn has_come(bytes: usize) {
    let _ = SCOPE.try_with(|scope| scope.bytes.set(scope.bytes.get() + bytes));
}

/// Keeps the room of a body until the request is answered.
pub(crate) fn keep(held: Arc<Held>) {
    // A request has one body.
    let _ = SCOPE.try_with(|scope| scope.held.set(held));
}

/// The room of the body, for work that may outlive the request.
pub(crate) fn held() -> Option<Arc<Held>> {
    let held = SCOPE.try_with(|scope| scope.held.get().cloned());
    held.unwrap_or(None)
}

/// Working on what was sent takes no time worth handing it over.
pub(crate) fn is_small() -> bool {
    let is_small = SCOPE.try_with(|scope| scope.bytes.get() <= SMALL_BYTES_MAX);
    is_small.unwrap_or(false)
}

/// The refusal of a request whose deadline has come.
pub(crate) fn too_late() -> Refusal {
    let message = "the deadline of the request came before its answer";
    Refusal::new(Code::DeadlineExceeded, message)
}

#[cfg(test)]
pub(crate) async fn with_bytes<F: Future>(bytes: usize, work: F) -> F::Output {
    let scope = Scope {
        asked: Ok(None),
        limit: Cell::new(Instant::now() + Duration::from_secs(60)),
        bytes: Cell::new(bytes),
        held: OnceCell::new(),
    };
    SCOPE.scope(scope, work).await
}
