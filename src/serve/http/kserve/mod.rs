//! The Open Inference Protocol, version 2, over REST, as KServe and Triton speak it: health, metadata,
//! inference, the model repository and statistics.

mod infer;
mod outputs;
pub(super) mod repository;
pub(super) mod statistics;
mod tensor;

use std::collections::BTreeMap;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;

use crate::family::Head;
use crate::serve::core::models::Use;
use crate::serve::http::error;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

pub(super) use infer::{InferAnswer, InferRequest};

/// Models have one version; its name.
const VERSION: &str = "1";

/// The path parameters of a route; versions are optional.
type Asked = Result<Path<Vec<String>>, PathRejection>;
type KserveResult = Result<Response, KserveRefusal>;

pub(super) fn routes() -> Router<ServerView> {
    let both = |router: Router<ServerView>, name: &str, method| {
        let at = |model: &str| format!("/v2/models/{model}{name}");
        let method: axum::routing::MethodRouter<ServerView> = method;
        router
            .route(&at("{model}"), method.clone())
            .route(&at("{model}/versions/{version}"), method)
    };
    let router = Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route(
            "/v2/repository/models/{model}/unload",
            post(repository::unload),
        );
    let router = both(router, "", get(metadata));
    let router = both(router, "/ready", get(model_ready));
    let router = both(router, "/infer", post(infer::infer));
    both(router, "/stats", get(statistics::of_model))
}

/// A refusal in the form of the protocol.
pub(super) struct KserveRefusal(Refusal);

impl<T: Into<Refusal>> From<T> for KserveRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KserveError")]
pub(super) struct KserveError<'a> {
    error: &'a str,
}

impl IntoResponse for KserveRefusal {
    fn into_response(self) -> Response {
        let status = match self.0.code() {
            // The protocol has one status for what is wrong with a request.
            Code::Invalid(_) => 400,
            other => error::status(other).as_u16(),
        };
        let body = KserveError {
            error: self.0.message(),
        };
        error::with_status(&self.0, status, Json(body).into_response())
    }
}

/// What the server is.
#[derive(Serialize, JsonSchema)]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 3],
}

async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        extensions: ["binary_tensor_data", "model_repository", "statistics"],
    })
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Live {
    live: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Ready<'a> {
    /// Of the model that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
}

async fn live() -> Json<Live> {
    Json(Live { live: true })
}

async fn ready(State(view): State<ServerView>) -> KserveResult {
    when(view.is_ready(), None)
}

fn when(ready: bool, name: Option<&str>) -> KserveResult {
    match ready {
        true => Ok(Json(Ready { name, ready }).into_response()),
        false => Err(Refusal::new(Code::NotReady, "no core is ready for this").into()),
    }
}

async fn model_ready(State(view): State<ServerView>, asked: Asked) -> KserveResult {
    let model = find(&view, asked)?;
    when(view.is_model_ready(model.id), Some(&model.name))
}

/// The model and version of a path.
fn find(view: &ServerView, asked: Asked) -> Result<Use, Refusal> {
    let asked = asked.map(|Path(parts)| parts).unwrap_or_default();
    let model = view.find_model(asked.first().map_or("", String::as_str))?;
    match asked.get(1) {
        Some(version) if version != VERSION => {
            Err(Refusal::new(Code::UnknownModel, "there is no such version")
                .help(&format!("the model has version {VERSION}")))
        }
        _ => Ok(model),
    }
}

/// What a model takes and gives.
#[derive(Serialize, JsonSchema)]
pub(super) struct ModelMetadata<'a> {
    name: &'a str,
    versions: [&'static str; 1],
    platform: String,
    /// Texts, or in their place the three tensors of token ids.
    inputs: Vec<TensorMetadata>,
    outputs: Vec<TensorMetadata>,
    /// `mask_token`, of a model that fills masks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize, JsonSchema)]
struct TensorMetadata {
    name: &'static str,
    datatype: &'static str,
    /// -1 for any size.
    shape: Vec<i64>,
}

fn tensor(name: &'static str, datatype: &'static str, shape: &[i64]) -> TensorMetadata {
    TensorMetadata {
        name,
        datatype,
        shape: shape.to_vec(),
    }
}

async fn metadata(State(view): State<ServerView>, asked: Asked) -> KserveResult {
    let model = find(&view, asked)?;
    let texts = infer::text_inputs(&model.model.head).iter();
    let ids = infer::ID_INPUTS.map(|name| tensor(name, "INT64", &[-1, -1]));
    let mask = model.bundle.manifest.mask_token.as_deref().into_iter();
    let answer = ModelMetadata {
        name: &model.name,
        versions: [VERSION],
        platform: format!("neuronc_{}", model.plan().chip),
        inputs: texts
            .map(|name| tensor(name, "BYTES", &[-1]))
            .chain(ids)
            .collect(),
        outputs: output_metadata(&model.model.head, model.bundle.manifest.output.width),
        parameters: mask.map(|mask| ("mask_token", mask)).collect(),
    };
    Ok(Json(answer).into_response())
}

/// The outputs of a model whose graphs return vectors of `width` values.
fn output_metadata(head: &Head, width: usize) -> Vec<TensorMetadata> {
    let width = i64::try_from(width).unwrap_or(-1);
    match head {
        Head::FeatureExtraction {
            pooling: Some(_), ..
        } => {
            vec![tensor(outputs::EMBEDDING, "FP32", &[-1, width])]
        }
        Head::FeatureExtraction { pooling: None, .. } => vec![
            tensor(outputs::TOKEN_EMBEDDINGS, "FP32", &[-1, -1, width]),
            tensor(outputs::LENGTHS, "INT64", &[-1]),
        ],
        Head::TextClassification { .. } => vec![
            tensor(outputs::LABELS, "BYTES", &[-1, -1]),
            tensor(outputs::SCORES, "FP32", &[-1, -1]),
            tensor(outputs::LOGITS, "FP32", &[-1, width]),
        ],
        Head::TokenClassification { .. } => vec![
            tensor(outputs::ANSWER, "BYTES", &[-1]),
            tensor(outputs::LOGITS, "FP32", &[-1, -1, width]),
        ],
        Head::QuestionAnswering => vec![
            tensor(outputs::ANSWER, "BYTES", &[-1]),
            tensor(outputs::START_LOGITS, "FP32", &[-1, -1]),
            tensor(outputs::END_LOGITS, "FP32", &[-1, -1]),
        ],
        Head::FillMask { .. } => vec![
            tensor(outputs::ANSWER, "BYTES", &[-1]),
            tensor(outputs::LOGITS, "FP32", &[-1, width]),
        ],
    }
}
