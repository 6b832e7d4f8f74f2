//! What stands in paths and headers.

use serde_json::{Value, json};

use crate::serve::core::names::NAME_PATTERN;
use crate::serve::http::openapi::{Body, Route};
use crate::serve::listener::ListenerRole;

/// The parameters of a route: those of its path, and the deadline where it has one.
pub(super) fn of(route: &Route<'_>, names: &[String], door: ListenerRole) -> Vec<Value> {
    let changes = match door {
        ListenerRole::Management => ["/admin/", "/v2/repository/models/"].as_slice(),
        ListenerRole::All | ListenerRole::Worker(_) => &[],
    };
    let is_change = changes.iter().any(|prefix| route.path.starts_with(prefix));
    let parts = route.path.split('{').skip(1);
    let in_path = parts.filter_map(|rest| rest.split('}').next()).map(|name| {
        let schema = match name {
            "model" if is_change => any_name(names),
            "model" => served(names),
            "version" => json!({"type": "string", "enum": ["1"]}),
            "alias" => any_name(&[]),
            _ => json!({"type": "integer", "minimum": 0}),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    });
    let mut parameters: Vec<Value> = in_path.collect();
    if route.refusals.contains(&504) || !matches!(route.body, Body::Nothing) {
        parameters.push(json!({
            "name": "x-neuronc-deadline-ms",
            "in": "header",
            "description": "answer with 504 after so many milliseconds",
            "schema": {"type": "integer", "minimum": 0, "examples": [5000]},
        }));
    }
    parameters
}

/// The name of something that is served.
pub(super) fn served(names: &[String]) -> Value {
    match names {
        [] => json!({"type": "string"}),
        names => json!({"type": "string", "enum": names}),
    }
}

/// The name of something that is served or is to be.
fn any_name(names: &[String]) -> Value {
    let mut schema = json!({"type": "string", "pattern": NAME_PATTERN});
    if !names.is_empty() {
        schema["examples"] = json!(names);
    }
    schema
}
