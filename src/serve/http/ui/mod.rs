//! `GET /ui`: a page that shows what the server does, for whoever may manage it. It asks
//! `/admin/status` and `/metrics` of the port that it came from, and nothing else.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::serve::Entrance;

/// The page may load, ask and run what this server has, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn routes() -> Router<Entrance> {
    let page = || async { file("text/html; charset=utf-8", PAGE) };
    let style = || async { file("text/css; charset=utf-8", STYLE) };
    let script = || async { file("text/javascript; charset=utf-8", SCRIPT) };
    Router::new()
        .route("/ui", get(page))
        .route("/ui/page.css", get(style))
        .route("/ui/page.js", get(script))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
