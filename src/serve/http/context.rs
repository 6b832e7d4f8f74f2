//! The context of each request, from its head: the deadline that the client gives, and the size.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::request::context::RequestContext;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

/// The time in milliseconds in which the client wants its answer, if that is less than the server's limit.
const DEADLINE_HEADER: &str = "x-neuronc-deadline-ms";

/// BucketCounters each request in a context of its own.
pub(super) async fn of_request(
    State(view): State<ServerView>,
    request: Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let context = RequestContext::new(
        wanted_time(request.headers()),
        view.served().limits.request,
        uri.path().len() + uri.query().map_or(0, str::len),
    );
    context.scope(next.run(request)).await
}

fn wanted_time(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
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
