//! The count of requests: each is counted by its route when it is answered.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::serve::http::error::Reason;
use crate::serve::request::frontend::Frontend;
use crate::serve::request::record;
use crate::serve::request::traffic::AnsweredRequest;

/// The route that a request counts under which took no route of ours: its path is its client's text.
const UNKNOWN: &str = "unknown";

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

/// The protocol that a route belongs to, as `docs/protocols.md` names it.
pub(super) fn protocol(route: &str) -> &'static str {
    let first = route.split('/').nth(1).unwrap_or_default();
    match first {
        _ if route == UNKNOWN => UNKNOWN,
        "v1" => "openai",
        "v2" => "kserve",
        "tei" => "tei",
        "invocations" | "ping" => "sagemaker",
        "{core}" => "fastapi",
        "admin" | "ui" => "management",
        "" | "docs" | "health" | "metrics" | "openapi.json" if route != "/health" => "native",
        "predict" if route != "/predict" => "native",
        _ => "tei",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_belong_to_protocols() {
        for (route, of) in [
            ("/", "native"),
            ("/predict/{model}", "native"),
            ("/health/ready", "native"),
            ("/docs/page.js", "native"),
            ("/predict", "tei"),
            ("/health", "tei"),
            ("/embed", "tei"),
            ("/tei/{model}/embed", "tei"),
            ("/v2", "kserve"),
            ("/v1/models/{model}", "openai"),
            ("/ping", "sagemaker"),
            ("/{core}/{model}", "fastapi"),
            ("/admin/status", "management"),
            (UNKNOWN, "unknown"),
        ] {
            assert_eq!(protocol(route), of, "{route}");
        }
    }
}
