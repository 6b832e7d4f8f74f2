//! BoundedTasks for which there is no route.

use axum::http::{Method, Uri};
use axum::response::Response;

use crate::serve::http::protocol::Protocols;
use crate::serve::http::traffic::NoRoute;
use crate::serve::request::refusal::{Code, Refusal};

/// Help for clients that took a wrong turn.
const ROUTES: &str = "`GET /openapi.json` lists the routes";

pub(super) fn unknown_route(protocols: &Protocols, uri: &Uri) -> Response {
    let path = uri.path();
    let refusal = Refusal::new(Code::UnknownRoute, format!("there is no route `{path}`"));
    let mut response = protocols.refuse(path, refusal.help(ROUTES));
    response.extensions_mut().insert(NoRoute);
    response
}

pub(super) fn wrong_method(protocols: &Protocols, method: &Method, uri: &Uri) -> Response {
    let path = uri.path();
    let message = format!("`{path}` does not take the method {method}");
    let refusal = Refusal::new(Code::WrongMethod, message);
    protocols.refuse(path, refusal.help(ROUTES))
}
