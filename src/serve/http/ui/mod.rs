//! Pages for a browser. `GET /ui` shows what the server does, for whoever may manage it: it asks
//! `/admin/status` and `/metrics`. `GET /docs` shows the routes of its port, from `/openapi.json`. They ask
//! the port that they came from, and nothing else.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::serve::request::view::ServerView;

/// The page may load, ask and run what this server has, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a page is made of.
struct Files {
    page: &'static str,
    style: &'static str,
    script: &'static str,
}

const STATUS: Files = Files {
    page: include_str!("page.html"),
    style: include_str!("page.css"),
    script: include_str!("page.js"),
};

const DOCS: Files = Files {
    page: include_str!("docs.html"),
    // The style of the one page, and what the other has beyond it.
    style: concat!(include_str!("page.css"), include_str!("docs.css")),
    script: include_str!("docs.js"),
};

/// Of the port for management.
pub(super) fn routes() -> Router<ServerView> {
    of("/ui", &STATUS)
}

/// Of every port.
pub(super) fn of_routes() -> Router<ServerView> {
    of("/docs", &DOCS)
}

fn of(root: &str, files: &'static Files) -> Router<ServerView> {
    let page = || async { file("text/html; charset=utf-8", files.page) };
    let style = || async { file("text/css; charset=utf-8", files.style) };
    let script = || async { file("text/javascript; charset=utf-8", files.script) };
    Router::new()
        .route(root, get(page))
        .route(&format!("{root}/page.css"), get(style))
        .route(&format!("{root}/page.js"), get(script))
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
