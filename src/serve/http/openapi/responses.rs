//! The responses of a route: every status that it can answer, with its body.

use axum::routing::MethodFilter;
use serde_json::{Map, Value, json};

use crate::serve::http::openapi::Described;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{AnswerContent, BodyContent, Route, RouteAccess};
use crate::serve::listener::ListenerRole;

/// The responses of a route whose refusals have bodies of the schema `error`.
pub(super) fn of(
    server: &Described,
    route: &Route,
    error: &Value,
    schemas: &mut Schemas,
) -> Map<String, Value> {
    let mut responses = Map::new();
    if let Some(answered) = answered(server, route, schemas) {
        responses.insert("200".to_owned(), answered);
    }
    for status in statuses(server, route) {
        let refused = match (status, route.unready) {
            (503, Some(schema)) => refused(status, &schema(schemas)),
            _ => refused(status, error),
        };
        responses.insert(status.to_string(), refused);
    }
    responses
}

/// The statuses of the refusals of a route, in ascending order.
fn statuses(server: &Described, route: &Route) -> Vec<u16> {
    let is_management = server.role == ListenerRole::Management;
    let mut statuses = route.refusals.to_vec();
    if is_management {
        statuses.extend(route.management_refusals);
    }
    if route.access != RouteAccess::Open {
        // Where there are API keys: none, or one that is beyond its limits.
        statuses.extend([401, 429]);
    }
    if route.access == RouteAccess::Admin {
        statuses.push(403);
    }
    if !matches!(route.body, BodyContent::Nothing) {
        statuses.extend([400, 408, 413, 415, 503, 504]);
    }
    if is_management && route.method != MethodFilter::GET {
        // The page of another site.
        statuses.push(403);
    }
    if statuses.contains(&504) {
        // A deadline that is not a number.
        statuses.push(400);
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// The response with 200, if the route has one.
fn answered(server: &Described, route: &Route, schemas: &mut Schemas) -> Option<Value> {
    let answered = match route.answer {
        AnswerContent::NothingForOperators if server.role != ListenerRole::Management => {
            return None;
        }
        AnswerContent::Nothing | AnswerContent::NothingForOperators => {
            json!({"description": "yes"})
        }
        AnswerContent::Json(schema) => response("the answer", &schema(schemas)),
        AnswerContent::Text(types) => {
            let schema = json!({"schema": {"type": "string"}});
            let types = types
                .iter()
                .map(|kind| ((*kind).to_owned(), schema.clone()));
            json!({"description": "the answer", "content": types.collect::<Map<_, _>>()})
        }
        AnswerContent::Tensors(schema) => json!({"description": "the answer", "content": {
            "application/json": {"schema": schema(schemas)},
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

/// The meaning of a status in every protocol.
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
