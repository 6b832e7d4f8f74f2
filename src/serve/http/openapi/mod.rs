//! The OpenAPI document, made from the declarations of the protocols: every route with what it takes, answers
//! and refuses with. The schemas come from the types that read requests and write answers.

pub(super) mod parameters;
mod responses;
pub(super) mod schemas;

use axum::Json;
use axum::extract::State;
use axum::routing::MethodFilter;
use serde_json::{Map, Value, json};

use crate::serve::http::openapi::schemas::{SERVED_NAME, Schemas};
use crate::serve::http::protocol::{BodyContent, Protocols, Route, RouteAccess, RouteGroup};
use crate::serve::listener::ListenerRole;
use crate::serve::request::view::ServerView;

const DESCRIPTION: &str = "One server, several protocols; docs/protocols.md says more.\n\n\
    A path of this document answers any other method with 405 and the header `allow`, and any other path \
    is answered 404, both as the schema `Error`. What never becomes a request is answered before there is \
    a route: 400 where it is not HTTP, or not TLS where that is spoken, 431 where its head is too large, \
    503 where there is no place for its connection. Bodies are JSON whatever their content type.";

/// The server that a document describes.
pub(super) struct Described {
    /// Models and aliases that are served; none for a document of any server.
    pub(super) names: Vec<String>,
    /// The port through which the server is seen.
    pub(super) role: ListenerRole,
    /// True where nothing but the health of the server is answered without a key.
    pub(super) has_keys: bool,
}

/// The document of a server.
pub(super) fn document(protocols: &Protocols, server: &Described) -> Value {
    let (paths, schemas) = described(protocols, server);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "neuronc serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
        },
        "security": security(server, &[]),
        "paths": paths,
        "components": {"securitySchemes": schemes(), "schemas": definitions(schemas, server)},
    })
}

/// Every path of a port with its operations, and the schemas that they refer to.
pub(super) fn described(
    protocols: &Protocols,
    server: &Described,
) -> (Map<String, Value>, Schemas) {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for protocol in protocols.on(server.role) {
        for (group, route) in protocol.routes() {
            let path = group.documented_path(route);
            // Two protocols may share a path: it is refused in the form of one of them.
            let error = (protocols.owner(&path).error)(&mut schemas);
            let operation = operation(server, (group, route), &error, &mut schemas);
            let operations = paths.entry(path).or_insert_with(|| json!({}));
            operations[method(route)] = operation;
        }
    }
    (paths, schemas)
}

fn operation(
    server: &Described,
    (group, route): (&RouteGroup, &Route),
    error: &Value,
    schemas: &mut Schemas,
) -> Value {
    let mut operation = json!({
        "tags": [group.tag],
        "summary": route.summary,
        "responses": responses::of(server, route, error, schemas),
    });
    match route.access {
        RouteAccess::Open => operation["security"] = json!([]),
        // As the whole document.
        RouteAccess::Key => {}
        RouteAccess::Admin => operation["security"] = security(server, &["admin"]),
    }
    let parameters = parameters::of(server, group, route);
    if !parameters.is_empty() {
        operation["parameters"] = Value::from(parameters);
    }
    let (schema, required) = match route.body {
        BodyContent::Nothing => return operation,
        BodyContent::Json(schema) => (schema, true),
        BodyContent::Optional(schema) => (schema, false),
    };
    let mut content = json!({"schema": schema(schemas)});
    if let Some(example) = route.example {
        let name = server.names.first().map_or("my-model", String::as_str);
        content["example"] = example(name);
    }
    let content = json!({"application/json": content});
    operation["requestBody"] = json!({"required": required, "content": content});
    operation
}

fn method(route: &Route) -> &'static str {
    match route.method {
        MethodFilter::POST => "post",
        MethodFilter::PUT => "put",
        MethodFilter::DELETE => "delete",
        _ => "get",
    }
}

/// The definitions of all types, sorted by name.
fn definitions(schemas: Schemas, server: &Described) -> Map<String, Value> {
    let [mut definitions, answers] = schemas.definitions();
    definitions.extend(answers);
    for definition in definitions.values_mut() {
        let properties = definition.get_mut("properties");
        let properties = properties.and_then(Value::as_object_mut).into_iter();
        for property in properties.flat_map(Map::values_mut) {
            if property.get(SERVED_NAME).is_some() {
                *property = parameters::served_name(&server.names);
            }
        }
    }
    definitions.sort_keys();
    definitions
}

/// Either header, from a key of these roles; neither where the server has no keys.
fn security(server: &Described, roles: &[&str]) -> Value {
    let mut ways = vec![json!({"bearer": roles}), json!({"x-api-key": roles})];
    if !server.has_keys {
        ways.insert(0, json!({}));
    }
    Value::from(ways)
}

/// The places of an API key in a request.
fn schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "a key that `neuronc key` made, where the server has API keys",
        },
        "x-api-key": {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "the same key in a header of its own, which counts where there is no bearer",
        },
    })
}

/// `GET /openapi.json`. Where there are keys, whoever asks for it has one.
pub(super) async fn serve(
    protocols: &Protocols,
    State(view): State<ServerView>,
    has_keys: bool,
) -> Json<Value> {
    let server = Described {
        names: view.names(),
        role: view.role,
        has_keys,
    };
    Json(document(protocols, &server))
}
