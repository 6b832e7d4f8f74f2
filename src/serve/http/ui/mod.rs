//! Pages for a browser. `GET /ui` shows what the server does, for whoever may manage it: it asks
//! `/admin/status` and `/metrics`. `GET /docs` shows the routes of its port, from `/openapi.json`. They ask
//! the port that they came from, and nothing else.

use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::on;

use crate::serve::http::protocol::{AnswerContent, MakeHandler, Route};

/// The page may load, ask and run what this server has, and nothing from anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The status page, below `/ui` on the port for management.
pub(super) const STATUS: &[Route] = &[
    page(
        |method, _| on(method, async || file(HTML, include_str!("page.html"))),
        "The status page",
    ),
    style(|method, _| on(method, async || file(CSS, include_str!("page.css")))),
    script(|method, _| on(method, async || file(JAVASCRIPT, include_str!("page.js")))),
];

/// The page of the routes, below `/docs` on every port.
pub(super) const DOCS: &[Route] = &[
    page(
        |method, _| on(method, async || file(HTML, include_str!("docs.html"))),
        "These routes, as a page",
    ),
    style(|method, _| on(method, async || file(CSS, DOCS_STYLE))),
    script(|method, _| on(method, async || file(JAVASCRIPT, include_str!("docs.js")))),
];

/// The style of the status page, and what the other page has beyond it.
const DOCS_STYLE: &str = concat!(include_str!("page.css"), include_str!("docs.css"));

const fn page(handler: MakeHandler, summary: &'static str) -> Route {
    text("", handler, summary, &["text/html"])
}

const fn style(handler: MakeHandler) -> Route {
    text("/page.css", handler, "Its style", &["text/css"])
}

const fn script(handler: MakeHandler) -> Route {
    text("/page.js", handler, "Its script", &["text/javascript"])
}

const fn text(
    path: &'static str,
    handler: MakeHandler,
    summary: &'static str,
    types: &'static [&'static str],
) -> Route {
    Route::get(path, handler, summary)
        .open()
        .answers_with(AnswerContent::Text(types))
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
