//! The Open Inference Protocol, version 2, over REST, as KServe and Triton speak it: health, metadata,
//! inference, the model repository and statistics.

mod error;
mod infer;
mod model;
mod outputs;
mod repository;
mod statistics;
mod tensor;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::on;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::family::Head;
use crate::serve::http::kserve::error::{KserveError, KserveRefusal, KserveResult};
use crate::serve::http::kserve::infer::{InferAnswer, InferRequest};
use crate::serve::http::kserve::model::{PathParts, VERSION, find};
use crate::serve::http::kserve::statistics::StatisticsAnswer;
use crate::serve::http::kserve::tensor::{ID_INPUTS, text_inputs};
use crate::serve::http::native::RUN_REFUSALS;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{AnswerContent, Protocol, Route, RouteGroup};
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "kserve",
    prefix: Some("/v2/"),
    is_management: false,
    refuse: |refusal| KserveRefusal(refusal).into_response(),
    error: Schemas::answer::<KserveError<'static>>,
    groups: &[
        RouteGroup {
            tag: "kserve",
            at: "/v2",
            routes: SERVER_ROUTES,
        },
        RouteGroup {
            tag: "kserve",
            at: "/v2/models/{model}",
            routes: MODEL_ROUTES,
        },
        RouteGroup {
            tag: "kserve",
            at: "/v2/models/{model}/versions/{version}",
            routes: MODEL_ROUTES,
        },
        RouteGroup {
            tag: "kserve",
            at: "/v2/repository",
            routes: repository::ROUTES,
        },
    ],
};

const SERVER_ROUTES: &[Route] = &[
    Route::get("", |method, _| on(method, server), "What the server is")
        .answers::<ServerMetadata>(),
    Route::get(
        "/health/live",
        |method, _| on(method, live),
        "Whether the process answers",
    )
    .open()
    .answers::<Live>(),
    Route::get(
        "/health/ready",
        |method, _| on(method, ready),
        "Whether all models are ready",
    )
    .open()
    .answers::<Ready<'static>>()
    .refuses(&[503]),
    Route::get(
        "/models/stats",
        |method, _| on(method, statistics::all),
        "What the models have done",
    )
    .answers::<StatisticsAnswer<'static>>(),
];

const MODEL_ROUTES: &[Route] = &[
    Route::get(
        "",
        |method, _| on(method, metadata),
        "What a model takes and gives",
    )
    .answers::<ModelMetadata<'static>>()
    .refuses(&[404]),
    Route::get(
        "/ready",
        |method, _| on(method, model_ready),
        "Whether a model is ready",
    )
    .answers::<Ready<'static>>()
    .refuses(&[404, 503]),
    Route::get(
        "/stats",
        |method, _| on(method, statistics::of_model),
        "What a model has done",
    )
    .answers::<StatisticsAnswer<'static>>()
    .refuses(&[404]),
    Route::post(
        "/infer",
        |method, _| on(method, infer::infer),
        "Texts as tensors, or rows of token ids",
    )
    .takes::<InferRequest>(|_| {
        let text = json!({"name": "text", "datatype": "BYTES", "shape": [1], "data": ["the cat"]});
        json!({"inputs": [text]})
    })
    .parameters(|_| {
        vec![json!({
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "the length of the JSON, where bytes of tensors follow it",
            "schema": {"type": "integer", "minimum": 0},
        })]
    })
    .answers_with(AnswerContent::Tensors(
        Schemas::answer::<InferAnswer<'static>>,
    ))
    .refuses(RUN_REFUSALS),
];

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

async fn model_ready(State(view): State<ServerView>, parts: PathParts) -> KserveResult {
    let model = find(&view, parts)?;
    when(view.is_model_ready(model.id), Some(&model.name))
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

async fn metadata(State(view): State<ServerView>, parts: PathParts) -> KserveResult {
    let model = find(&view, parts)?;
    let texts = text_inputs(&model.model.head).iter();
    let ids = ID_INPUTS.map(|name| tensor(name, "INT64", &[-1, -1]));
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
