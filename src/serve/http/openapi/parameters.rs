//! The parameters of a route: those of its path, its deadline, and others that it declares.

use serde_json::{Value, json};

use crate::serve::core::names::NAME_PATTERN;
use crate::serve::http::openapi::Described;
use crate::serve::http::protocol::{BodyContent, Route, RouteGroup};
use crate::serve::listener::ListenerRole;

pub(super) fn of(server: &Described, group: &RouteGroup, route: &Route) -> Vec<Value> {
    let names = &server.names;
    let may_name_new = route.may_name_new && server.role == ListenerRole::Management;
    let path = group.documented_path(route);
    let parts = path.split('{').skip(1);
    let in_path = parts.filter_map(|rest| rest.split('}').next()).map(|name| {
        let schema = match name {
            "model" if may_name_new => any_name(names),
            "model" => served_name(names),
            "version" => json!({"type": "string", "enum": ["1"]}),
            "alias" => any_name(&[]),
            _ => json!({"type": "integer", "minimum": 0}),
        };
        json!({"name": name, "in": "path", "required": true, "schema": schema})
    });
    let mut parameters: Vec<Value> = in_path.collect();
    if route.refusals.contains(&504) || !matches!(route.body, BodyContent::Nothing) {
        parameters.push(json!({
            "name": "x-neuronc-deadline-ms",
            "in": "header",
            "description": "answer with 504 after so many milliseconds",
            "schema": {"type": "integer", "minimum": 0, "examples": [5000]},
        }));
    }
    if let Some(more) = route.parameters {
        parameters.extend(more(names));
    }
    parameters
}

/// The name of a model or an alias that is served.
pub(in crate::serve::http) fn served_name(names: &[String]) -> Value {
    match names {
        [] => json!({"type": "string"}),
        names => json!({"type": "string", "enum": names}),
    }
}

/// The name of a model that is served or is to be.
fn any_name(names: &[String]) -> Value {
    let mut schema = json!({"type": "string", "pattern": NAME_PATTERN});
    if !names.is_empty() {
        schema["examples"] = json!(names);
    }
    schema
}
