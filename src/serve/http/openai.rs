//! The OpenAI protocol: `POST /v1/embeddings`, `GET /v1/models` and `GET /v1/models/{model}`.

use std::num::NonZeroUsize;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::failure::known_names;
use crate::serve::core::models::ServedModel;
use crate::serve::http::body::RequestBody;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{Protocol, Route, RouteGroup};
use crate::serve::http::{error, json};
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::feature_extraction::{self, Embeddings, Options};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::tokens::Text;
use crate::task::{OneOrMany, TaskModel};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "openai",
    prefix: Some("/v1/"),
    is_management: false,
    refuse: |refusal| OpenAiRefusal(refusal).into_response(),
    error: Schemas::answer::<OpenAiError<'static>>,
    groups: &[RouteGroup {
        tag: "openai",
        at: "/v1",
        routes: &[
            Route::post(
                "/embeddings",
                |method, _| on(method, embeddings),
                "Embeddings",
            )
            .takes::<EmbeddingsRequest>(|model| json!({"model": model, "input": "the cat"}))
            .answers::<EmbeddingsAnswer<'static>>()
            .refuses(&[404, 429, 500, 503, 504]),
            Route::get(
                "/models",
                |method, _| on(method, models),
                "The models that are served",
            )
            .answers::<ModelsAnswer<'static>>(),
            Route::get(
                "/models/{model}",
                |method, _| on(method, model),
                "One of them",
            )
            .answers::<ModelAnswer<'static>>()
            .refuses(&[404]),
        ],
    }],
};

/// The fields of a request that OpenAI's clients send.
const FIELDS: [&str; 5] = ["input", "model", "encoding_format", "dimensions", "user"];

const INPUT: &str = "a string or a list of strings, a list of token ids or a list of such lists";

/// No more characters of an unknown name are repeated in a message.
const SHOWN_NAME_MAX: usize = 40;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct EmbeddingsRequest {
    /// A text, the ids of its tokens, or a list of either.
    input: OneOrMany<Text>,
    #[schemars(extend("x-served-name" = true))]
    model: String,
    #[schemars(default, with = "Option<Encoding>")]
    encoding_format: Encoding,
    /// Keeps the first so many values of each vector, scaled to length 1 again.
    dimensions: Option<NonZeroUsize>,
    /// An id of the caller's user; of no use here.
    #[expect(dead_code, reason = "accepted and not used")]
    user: Option<String>,
}

/// How a vector is written.
#[derive(Default, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    /// Little-endian 32-bit floats.
    Base64,
}

#[derive(Serialize, JsonSchema)]
struct EmbeddingsAnswer<'a> {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'a str,
    usage: TokenUsage,
}

#[derive(Serialize, JsonSchema)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// Tokens, special ones included.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
struct TokenUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Vector {
    Float(Vec<f32>),
    Base64(String),
}

/// `GET /v1/models`.
#[derive(Serialize, JsonSchema)]
struct ModelsAnswer<'a> {
    object: &'static str,
    data: Vec<ModelAnswer<'a>>,
}

/// `GET /v1/models/{model}`.
#[derive(Serialize, JsonSchema)]
struct ModelAnswer<'a> {
    id: &'a str,
    object: &'static str,
    /// Seconds since 1970; bundles do not say when they were made, so 0.
    created: u64,
    owned_by: &'static str,
}

/// The body of every refusal of OpenAI's routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenAiError")]
struct OpenAiError<'a> {
    error: ErrorDetails<'a>,
}

#[derive(Serialize, JsonSchema)]
struct ErrorDetails<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// A refusal in OpenAI's form.
struct OpenAiRefusal(Refusal);

impl<T: Into<Refusal>> From<T> for OpenAiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

impl IntoResponse for OpenAiRefusal {
    fn into_response(self) -> Response {
        let status = match error::status(self.0.code()) {
            // Clients know of no other status for a request that cannot be answered as it is.
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
            status => status,
        };
        let kind = match status.is_client_error() {
            // Worth another try: clients tell by this.
            true if status == StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            true => "invalid_request_error",
            false => "server_error",
        };
        let body = OpenAiError {
            error: ErrorDetails {
                message: self.0.message(),
                r#type: kind,
                param: self.0.field(),
                code: self.0.name(),
            },
        };
        error::with_status(&self.0, status.as_u16(), Json(body).into_response())
    }
}

/// `POST /v1/embeddings`.
async fn embeddings(
    State(view): State<ServerView>,
    body: RequestBody,
) -> Result<Response, OpenAiRefusal> {
    let read = |body: &[u8]| Ok(EmbeddingsRequest::read(json::parse_any(body)?)?);
    let request = run::read(body.bytes()?, read).await?;
    let model = view.find_model(&request.model)?;
    let EmbeddingsRequest {
        input,
        encoding_format,
        dimensions,
        ..
    } = request;
    let prepare = move |model: &TaskModel| {
        feature_extraction::embeddings(model, &input, "input", Options::STANDARD)
    };
    let form = VectorForm {
        encoding_format,
        dimensions,
    };
    let write = move |model: &ServedModel, embeddings: Embeddings, outputs: Outputs| {
        form.write(embeddings, outputs, &model.name)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}

/// The form in which a request wants its vectors.
struct VectorForm {
    encoding_format: Encoding,
    dimensions: Option<NonZeroUsize>,
}

impl VectorForm {
    fn write(
        self,
        embeddings: Embeddings,
        outputs: Outputs,
        model: &str,
    ) -> Result<Response, Refusal> {
        let tokens = embeddings.tokens();
        let vectors = embeddings
            .vectors(outputs.values)
            .map_err(Refusal::unanswerable)?;
        let mut data = Vec::with_capacity(vectors.len());
        for (index, vector) in vectors.into_iter().enumerate() {
            let vector = feature_extraction::shorten(vector, self.dimensions, true)?;
            data.push(Embedding {
                object: "embedding",
                index,
                embedding: encode(vector, self.encoding_format),
            });
        }
        let answer = EmbeddingsAnswer {
            object: "list",
            data,
            model,
            usage: TokenUsage {
                prompt_tokens: tokens,
                total_tokens: tokens,
            },
        };
        json::write(&answer, &outputs.summary)
    }
}

/// `GET /v1/models`.
async fn models(State(view): State<ServerView>) -> Response {
    let names = view.names();
    let answer = ModelsAnswer {
        object: "list",
        data: names.iter().map(|name| describe(name)).collect(),
    };
    Json(answer).into_response()
}

/// `GET /v1/models/{model}`.
async fn model(
    State(view): State<ServerView>,
    model: Result<Path<String>, PathRejection>,
) -> Result<Response, OpenAiRefusal> {
    let name = model.as_deref().map_or("", String::as_str);
    view.find_model(name)?;
    Ok(Json(describe(name)).into_response())
}

fn describe(name: &str) -> ModelAnswer<'_> {
    ModelAnswer {
        id: name,
        object: "model",
        created: 0,
        owned_by: "neuronc",
    }
}

impl EmbeddingsRequest {
    fn read(body: Value) -> Result<Self, Invalid> {
        let Value::Object(mut fields) = body else {
            let message = "the body must be an object";
            return Err(Invalid::new(InvalidCode::WrongType, "", message));
        };
        if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let name: String = name.chars().take(SHOWN_NAME_MAX).collect();
            let known = known_names(&name, FIELDS);
            let message = format!("an embeddings request has no field `{name}`: {known}");
            return Err(Invalid::new(InvalidCode::UnknownField, &name, message));
        }
        Ok(Self {
            input: required(&mut fields, "input", INPUT)?,
            model: required(&mut fields, "model", "a string")?,
            encoding_format: take(&mut fields, "encoding_format", "`float` or `base64`")?
                .unwrap_or_default(),
            dimensions: dimensions(take(&mut fields, "dimensions", "a whole number")?)?,
            user: take(&mut fields, "user", "a string")?,
        })
    }
}

fn dimensions(asked: Option<usize>) -> Result<Option<NonZeroUsize>, Invalid> {
    match asked.map(NonZeroUsize::new) {
        None => Ok(None),
        Some(Some(asked)) => Ok(Some(asked)),
        Some(None) => Err(Invalid::new(
            InvalidCode::BadParameter,
            "dimensions",
            "`dimensions` is 0, and a vector has at least one",
        )),
    }
}

/// The field `name`, unless it is absent or null.
fn take<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<Option<T>, Invalid> {
    let value = fields.remove(name).unwrap_or_default();
    serde_json::from_value(value).map_err(|_| {
        let message = format!("`{name}` must be {expected}");
        Invalid::new(InvalidCode::WrongType, name, message)
    })
}

fn required<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &str,
    expected: &str,
) -> Result<T, Invalid> {
    take(fields, name, expected)?.ok_or_else(|| {
        let message = format!("`{name}` is missing: it is {expected}");
        Invalid::new(InvalidCode::MissingField, name, message)
    })
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            Vector::Base64(STANDARD.encode(bytes))
        }
    }
}
