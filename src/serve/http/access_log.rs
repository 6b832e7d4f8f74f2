//! What every request goes through first and every answer last: its name, its place in the log, and
//! its line there when that is asked for.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument as _, Span, field};

use crate::serve::http::access::Caller;
use crate::serve::http::connections::serving::Peer;
use crate::serve::http::protocol::Protocols;
use crate::serve::http::{request_id, traffic};

/// How requests are logged.
#[derive(Clone, Copy)]
pub(super) struct AccessLog {
    pub(super) protocols: &'static Protocols,
    /// Every request gets a line in the log.
    pub(super) log_requests: bool,
}

/// A request as it is logged: nothing here is what a user wrote, but for its name.
struct Observed {
    method: Method,
    /// The template of the route, such as `/predict/{model}`; a path may have anything in it.
    route: Option<MatchedPath>,
    peer: Option<Peer>,
    begun: Instant,
}

/// Names a request, and notes how it was answered.
pub(super) async fn observed(
    State(log): State<AccessLog>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id::of(request.headers());
    // A span costs the processors as much as reading a short text does.
    let span = if log.log_requests {
        span(&id, request.headers())
    } else {
        Span::none()
    };
    let observed = Observed {
        method: request.method().clone(),
        route: request.extensions().get().cloned(),
        peer: request.extensions().get().copied(),
        begun: Instant::now(),
    };
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    let route = traffic::route_of(observed.route.as_ref(), &response);
    if log.log_requests {
        let caller = response.extensions().get::<Caller>();
        span.in_scope(|| observed.log(route, status, caller));
    } else if status.is_server_error() && !route.is_some_and(|route| log.protocols.is_open(route)) {
        // Probes come every second, and a server that is not ready says why on its own.
        let id = id.to_str().unwrap_or_default();
        tracing::warn!(id, route, status = status.as_u16(), "a request failed");
    }
    response.headers_mut().insert(request_id::REQUEST_ID, id);
    response
}

fn span(id: &HeaderValue, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        trace = field::Empty
    );
    if let Some(trace) = request_id::trace_parent(headers) {
        span.record("trace", trace);
    }
    span
}

impl Observed {
    fn log(&self, route: Option<&str>, status: StatusCode, caller: Option<&Caller>) {
        // In whole microseconds.
        let milliseconds = self.begun.elapsed().as_secs_f64() * 1e3;
        tracing::info!(
            method = traffic::method_name(&self.method),
            route,
            status = status.as_u16(),
            milliseconds = (milliseconds * 1e3).round() / 1e3,
            client = self.peer.map(|Peer(address)| address.to_string()),
            key = caller.map(Caller::name),
            "answered"
        );
    }
}
