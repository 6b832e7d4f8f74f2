//! The OpenAPI document: every route with what it takes, answers and refuses with. The schemas come
//! from the types that read requests and write answers.

mod examples;
mod management;
mod parameters;
mod responses;
mod routes;

use axum::extract::State;
use axum::{Extension, Json};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::serve::http::access::{self, Caller};
use crate::serve::listener::ListenerRole;
use crate::serve::request::view::ServerView;

/// Where the schemas of types are.
const SCHEMAS: &str = "/components/schemas";

const DESCRIPTION: &str = "One server, several protocols; docs/protocols.md says more.\n\n\
    A path of this document answers any other method with 405 and the header `allow`, and any other path \
    is answered 404, both as the schema `Error`. What never becomes a request is answered before there is \
    a route: 400 where it is not HTTP, or not TLS where that is spoken, 431 where its head is too large, \
    503 where there is no place for its connection. Bodies are JSON whatever their content type.";

/// The document of a server of models and aliases of these names, of any server where there are none, as
/// it is seen through a port. With `keys`, nothing but the health of the server is answered without.
pub fn document(names: &[&str], door: ListenerRole, keys: bool) -> Value {
    let mut paths = described(names, door, keys);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "neuronc serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
        },
        "security": paths.security(&[]),
        "paths": std::mem::take(&mut paths.paths),
        "components": {"securitySchemes": schemes(), "schemas": paths.schemas()},
    })
}

/// Every route of a port.
fn described(names: &[&str], door: ListenerRole, keys: bool) -> Paths {
    let mut paths = Paths::new(names, door, keys);
    routes::native(&mut paths);
    routes::openai(&mut paths);
    for (prefix, tag) in [("", "tei"), ("/tei/{model}", "tei of a model")] {
        routes::tei(&mut paths, prefix, tag);
    }
    routes::kserve_health(&mut paths);
    for model in [
        "/v2/models/{model}",
        "/v2/models/{model}/versions/{version}",
    ] {
        routes::kserve_model(&mut paths, model);
    }
    routes::kserve_repository(&mut paths);
    routes::sagemaker(&mut paths);
    routes::fastapi(&mut paths);
    if door == ListenerRole::Management {
        management::routes(&mut paths);
    }
    paths
}

/// The paths so far, and the schemas that they name.
struct Paths {
    /// Models and aliases that are served.
    names: Vec<String>,
    door: ListenerRole,
    keys: bool,
    paths: Map<String, Value>,
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

/// A route of a protocol.
struct Route<'a> {
    tag: &'a str,
    method: &'static str,
    path: String,
    summary: &'static str,
    body: Body,
    answer: Reply,
    /// The statuses of what only this route refuses: those that a body or a key brings are added. One
    /// that can answer 504, or has a body, takes a deadline.
    refusals: &'static [u16],
    error: Value,
}

/// What a route takes.
enum Body {
    Nothing,
    Json(Value),
    /// The same, and it can be left out.
    Optional(Value),
}

/// What a route answers with 200.
enum Reply {
    /// It never does.
    Refused,
    Nothing,
    Json(Value),
    /// JSON, or JSON and the bytes of tensors.
    Tensors(Value),
    /// Text of these types.
    Text(&'static [&'static str]),
}

impl Paths {
    fn new(names: &[&str], door: ListenerRole, keys: bool) -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            door,
            keys,
            paths: Map::new(),
            requests: settings().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    fn request<T: JsonSchema>(&mut self) -> Body {
        Body::Json(self.requests.subschema_for::<T>().to_value())
    }

    fn optional_request<T: JsonSchema>(&mut self) -> Body {
        Body::Optional(self.requests.subschema_for::<T>().to_value())
    }

    fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    fn json<T: JsonSchema>(&mut self) -> Reply {
        Reply::Json(self.answer::<T>())
    }

    fn schemas(mut self) -> Map<String, Value> {
        let mut schemas = self.requests.take_definitions(true);
        schemas.extend(self.answers.take_definitions(true));
        if let Some(request) = schemas.get_mut("EmbeddingsRequest") {
            request["properties"]["model"] = parameters::served(&self.names);
        }
        schemas.sort_keys();
        schemas
    }

    fn add(&mut self, route: Route<'_>) {
        let is_open = access::is_open(&route.path);
        let is_for_admins = route.tag == management::TAG && !is_open;
        let mut operation = json!({
            "tags": [route.tag],
            "summary": route.summary,
            "responses": responses::of(&route, self.door),
        });
        if is_open {
            operation["security"] = json!([]);
        } else if is_for_admins {
            operation["security"] = self.security(&["admin"]);
        }
        let parameters = parameters::of(&route, &self.names, self.door);
        if !parameters.is_empty() {
            operation["parameters"] = Value::from(parameters);
        }
        let (schema, required) = match route.body {
            Body::Nothing => (None, false),
            Body::Json(schema) => (Some(schema), true),
            Body::Optional(schema) => (Some(schema), false),
        };
        if let Some(schema) = schema {
            let mut content = json!({"schema": schema});
            if let Some(example) = examples::of(&route.path, &self.names) {
                content["example"] = example;
            }
            let content = json!({"application/json": content});
            operation["requestBody"] = json!({"required": required, "content": content});
        }
        let path = self.paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }

    /// Gives an operation a parameter that its path does not name.
    fn parameter(&mut self, (path, method): (&str, &str), parameter: Value) {
        let operation = self.paths.get_mut(path).map(|path| &mut path[method]);
        if let Some(operation) = operation {
            match operation["parameters"].as_array_mut() {
                Some(parameters) => parameters.push(parameter),
                None => operation["parameters"] = json!([parameter]),
            }
        }
    }

    /// Either header, from a key of these roles; neither where the server has no keys.
    fn security(&self, roles: &[&str]) -> Value {
        let mut ways = vec![json!({"bearer": roles}), json!({"x-api-key": roles})];
        if !self.keys {
            ways.insert(0, json!({}));
        }
        Value::from(ways)
    }
}

/// Where an API key is.
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

/// `GET /openapi.json`. Where there are keys, who asks for it has one.
pub(super) async fn serve(
    State(view): State<ServerView>,
    caller: Option<Extension<Caller>>,
) -> Json<Value> {
    let names = view.names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Json(document(&names, view.role, caller.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_schema_hides_another_of_its_name() {
        let mut paths = described(&[], ListenerRole::Management, false);
        let requests = paths.requests.take_definitions(true);
        let answers = paths.answers.take_definitions(true);
        assert!(requests.len() > 10 && answers.len() > 20);
        for (name, schema) in &requests {
            let other = answers.get(name).unwrap_or(schema);
            assert_eq!(schema, other, "`{name}` of requests and of answers");
        }
    }

    #[test]
    fn every_body_has_an_example() {
        let paths = described(&[], ListenerRole::Management, false);
        let operations = paths
            .paths
            .values()
            .flat_map(|path| path.as_object().unwrap());
        let bodies: Vec<_> = operations
            .filter_map(|(_, operation)| operation.get("requestBody"))
            .collect();
        assert!(bodies.len() > 20);
        for body in bodies {
            let content = &body["content"]["application/json"];
            assert!(content["example"].is_object(), "{body}");
        }
    }
}
