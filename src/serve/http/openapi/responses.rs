//! What routes answer: which statuses, and what stands behind each.

use serde_json::{Map, Value, json};

use crate::serve::http::access;
use crate::serve::http::openapi::{Body, Reply, Route, management};
use crate::serve::listener::ListenerRole;

/// Every status that a route can answer, with its body.
pub(super) fn of(route: &Route<'_>, door: ListenerRole) -> Map<String, Value> {
    let mut responses = Map::new();
    if let Some(answered) = answered(&route.answer) {
        responses.insert("200".to_owned(), answered);
    }
    for status in statuses(route, door) {
        responses.insert(status.to_string(), refused(status, &route.error));
    }
    responses
}

fn statuses(route: &Route<'_>, door: ListenerRole) -> Vec<u16> {
    let mut statuses = route.refusals.to_vec();
    if !access::is_open(&route.path) {
        // Where there are API keys: none, or one of which there is too much.
        statuses.extend([401, 429]);
        if route.tag == management::TAG {
            statuses.push(403);
        }
    }
    if !matches!(route.body, Body::Nothing) {
        statuses.extend([400, 408, 413, 415, 503, 504]);
    }
    if door == ListenerRole::Management && route.method != "get" {
        // The page of another site.
        statuses.push(403);
    }
    if statuses.contains(&504) {
        // A deadline that is no number.
        statuses.push(400);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn answered(reply: &Reply) -> Option<Value> {
    let answered = match reply {
        Reply::Refused => return None,
        Reply::Nothing => json!({"description": "yes"}),
        Reply::Json(schema) => response("the answer", schema),
        Reply::Text(kinds) => {
            let schema = json!({"schema": {"type": "string"}});
            let kinds = kinds
                .iter()
                .map(|kind| ((*kind).to_owned(), schema.clone()));
            json!({"description": "the answer", "content": kinds.collect::<Map<_, _>>()})
        }
        Reply::Tensors(schema) => json!({"description": "the answer", "content": {
            "application/json": {"schema": schema},
            "application/octet-stream": {"schema": {}},
        }}),
    };
    Some(answered)
}

fn refused(status: u16, error: &Value) -> Value {
    let mut refused = response(meaning(status), error);
    if status == 401 {
        let challenge = json!({"type": "string"});
        refused["headers"] = json!({"WWW-Authenticate": {"required": true, "schema": challenge}});
    }
    if status == 429 {
        let seconds = json!({"type": "integer", "minimum": 1});
        refused["headers"] = json!({"Retry-After": {"required": true, "schema": seconds}});
    }
    refused
}

fn response(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// What a status means in every protocol.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "the body or a header cannot be read, or the request cannot be answered as it is",
        401 => "no API key, or one that is not known",
        403 => {
            "the role of the API key is not enough, or the page of another site sent the request"
        }
        404 => "no such model, alias, core or version",
        408 => "the body did not come in time",
        409 => "it would break what is served, or the server is stopping",
        413 => "the body is too large, or has too many inputs",
        415 => "the body is compressed",
        422 => "the request cannot be answered as it is",
        424 => "the model is for something else, or failed",
        429 => "too many rows are waiting, or a limit of the API key; `Retry-After` has seconds",
        500 => "the model or the server failed on this request",
        503 => "no core is ready, the server is stopping, or it has no room for the body",
        _ => "no answer in time",
    }
}
