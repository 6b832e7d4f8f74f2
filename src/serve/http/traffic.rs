//! The count of requests: each is counted by its route when it is answered; and what counts, logs and traces
//! call a request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::http::error::Reason;
use crate::serve::request::frontend::Frontend;
use crate::serve::request::record;
use crate::serve::request::traffic::AnsweredRequest;

/// The route, and the protocol, of a request that took no route of ours: its path is its client's text.
pub(super) const UNKNOWN: &str = "unknown";

/// In the extensions of the answer to a path that is not one of ours, although a route matched it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoRoute;

/// The template of the route that gave an answer, such as `/predict/{model}`.
pub(super) fn route_of<'a>(
    matched: Option<&'a MatchedPath>,
    response: &Response,
) -> Option<&'a str> {
    match response.extensions().get::<NoRoute>() {
        Some(NoRoute) => None,
        None => matched.map(MatchedPath::as_str),
    }
}

/// Counts each request when it is answered.
pub(super) async fn count(
    State(frontend): State<Arc<Frontend>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let traffic = &frontend.traffic;
    let _open = traffic.begin();
    let begun = Instant::now();
    let (response, model) = record::with_model(next.run(request)).await;
    let refusal = response.extensions().get::<Reason>();
    traffic.answered(AnsweredRequest {
        route: route_of(route.as_ref(), &response).unwrap_or(UNKNOWN),
        status: response.status().as_u16(),
        refusal: refusal.map(|Reason(code)| *code),
        model,
        seconds: begun.elapsed().as_secs_f64(),
    });
    response
}

/// The method of a request for logs and traces: a client can call a method what it likes.
pub(super) fn method_name(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
        Method::PATCH,
    ];
    if known.contains(method) {
        method.as_str()
    } else {
        "other"
    }
}
