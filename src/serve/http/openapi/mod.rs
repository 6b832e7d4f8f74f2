//! The OpenAPI document: every route with what it takes, answers and refuses with. The schemas come
//! from the types that read requests and write answers.

mod management;
mod routes;

use axum::Json;
use axum::extract::State;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::serve::{Door, Entrance};

/// Where the schemas of types are.
const SCHEMAS: &str = "/components/schemas";

/// The document of a server of these models, of any server where there are none, as it is seen through a
/// port.
pub fn document(models: &[&str], door: Door) -> Value {
    let mut paths = Paths::new(models, door);
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
    if door == Door::Management {
        management::routes(&mut paths);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "neuronc serve",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One server, several protocols; docs/protocols.md says more.",
        },
        "paths": std::mem::take(&mut paths.paths),
        "components": {"schemas": paths.schemas()},
    })
}

/// The paths so far, and the schemas that they name.
struct Paths {
    door: Door,
    /// What a model may be called.
    model: Value,
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
    /// Of the body.
    request: Option<Value>,
    answer: Reply,
    statuses: &'static [u16],
    error: Value,
}

/// What a route answers with 200.
enum Reply {
    Nothing,
    Json(Value),
    /// JSON, or JSON and the bytes of tensors.
    Tensors(Value),
    /// Text of these types.
    Text(&'static [&'static str]),
}

impl Paths {
    fn new(models: &[&str], door: Door) -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            door,
            model: match models {
                [] => json!({"type": "string"}),
                models => json!({"type": "string", "enum": models}),
            },
            paths: Map::new(),
            requests: settings().into_generator(),
            answers: settings().for_serialize().into_generator(),
        }
    }

    fn request<T: JsonSchema>(&mut self) -> Option<Value> {
        Some(self.requests.subschema_for::<T>().to_value())
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
            request["properties"]["model"] = self.model;
        }
        schemas.sort_keys();
        schemas
    }

    fn path_parameters(&self, path: &str) -> Vec<Value> {
        let names = path
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split('}').next());
        let parameter = |name: &str| {
            let schema = match name {
                "model" => self.model.clone(),
                "version" => json!({"type": "string", "enum": ["1"]}),
                "alias" => json!({"type": "string"}),
                _ => json!({"type": "integer", "minimum": 0}),
            };
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        };
        names.map(parameter).collect()
    }

    fn add(&mut self, route: Route<'_>) {
        let answered = match route.answer {
            Reply::Nothing => json!({"description": "yes"}),
            Reply::Json(schema) => response("the answer", &schema),
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
        let mut responses = Map::new();
        responses.insert("200".to_owned(), answered);
        let mut statuses = route.statuses.to_vec();
        // Where there are API keys, and where there is a body.
        statuses.extend([401, 429]);
        if route.request.is_some() {
            statuses.extend([408, 503, 504]);
        }
        let is_operators = route.method != "get" || route.tag == "management";
        if self.door == Door::Management && is_operators {
            statuses.push(403);
        }
        statuses.sort_unstable();
        statuses.dedup();
        for status in &statuses {
            let refused = response(meaning(*status), &route.error);
            responses.insert(status.to_string(), refused);
        }
        let mut operation = json!({
            "tags": [route.tag],
            "summary": route.summary,
            "responses": responses,
        });
        let mut parameters: Vec<Value> = self.path_parameters(&route.path);
        if let Some(schema) = route.request {
            parameters.push(deadline());
            operation["requestBody"] =
                json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        if !parameters.is_empty() {
            operation["parameters"] = Value::from(parameters);
        }
        let path = self.paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation;
    }
}

fn response(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// `GET /openapi.json`.
pub(super) async fn serve(State(entrance): State<Entrance>) -> Json<Value> {
    let models = entrance.models();
    let names: Vec<&str> = models.iter().map(|model| &*model.name).collect();
    Json(document(&names, entrance.door))
}

/// What a status means in every protocol.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "the body or a header cannot be read",
        401 => "no API key, or one that is not known",
        403 => "the role of the key is not enough, or the page of another site sent the request",
        404 => "no such model",
        408 => "the body did not come in time",
        413 => "the body is too large, or has too many inputs",
        422 => "the request cannot be answered as it is",
        424 => "the model is for something else, or failed",
        429 => "too many rows are waiting, or a limit of the API key; `Retry-After` has seconds",
        500 => "the model or the server failed on this request",
        503 => "no core is ready, the server is stopping, or it has no room for the body",
        _ => "no answer in time",
    }
}

fn deadline() -> Value {
    json!({
        "name": "x-neuronc-deadline-ms",
        "in": "header",
        "description": "answer with 504 after so many milliseconds",
        "schema": {"type": "integer", "minimum": 0},
    })
}
