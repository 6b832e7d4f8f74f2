//! `/info` and `/health` of Text Embeddings Inference.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::cast::{Cast, CastMode, CastType};
use crate::family::Head;
use crate::runtime::simulated::SIMULATED;
use crate::serve::http::tei::error::TeiRefusal;
use crate::serve::http::tei::model::{self, NamedModel};
use crate::serve::request::view::ServerView;
use crate::task::TaskModel;

/// What the model is, and what the server takes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Info {
    model_id: String,
    model_sha: Option<String>,
    model_dtype: &'static str,
    model_type: ModelType,
    /// Of all connections together.
    max_concurrent_requests: usize,
    max_input_length: usize,
    max_batch_tokens: usize,
    max_batch_requests: Option<usize>,
    max_client_batch_size: usize,
    auto_truncate: bool,
    /// The threads on which short requests are read; long ones have threads of their own.
    tokenization_workers: usize,
    version: &'static str,
    /// `simulated` where no device computes the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ModelType {
    Embedding {
        pooling: String,
    },
    Classifier(Labels),
    Reranker(Labels),
    /// A task that Text Embeddings Inference does not have.
    Other {
        task: String,
    },
}

#[derive(Serialize, JsonSchema)]
struct Labels {
    id2label: BTreeMap<usize, String>,
    label2id: BTreeMap<String, usize>,
}

pub(super) async fn info(
    State(view): State<ServerView>,
    named: NamedModel,
) -> Result<Json<Info>, TeiRefusal> {
    let model = model::find(&view, named, |_| true)?;
    let limits = &view.served().limits;
    let (name, plan) = (&model.name, model.plan());
    let model = &model.model;
    let buckets = || plan.buckets.iter();
    let requests = limits.connections;
    let requests = requests.saturating_mul(limits.requests_per_connection);
    Ok(Json(Info {
        model_id: plan.model.id.clone().unwrap_or_else(|| name.to_string()),
        model_sha: plan.model.commit.clone(),
        model_dtype: dtype(plan.cast),
        model_type: model_type(model),
        max_concurrent_requests: requests,
        max_input_length: model.tokens_max,
        max_batch_tokens: buckets().map(|b| b.batch * b.sequence).max().unwrap_or(0),
        max_batch_requests: buckets().map(|bucket| bucket.batch).max(),
        max_client_batch_size: model.rows_max,
        auto_truncate: false,
        tokenization_workers: Handle::current().metrics().num_workers(),
        version: env!("CARGO_PKG_VERSION"),
        runtime: view.served().is_simulated().then_some(SIMULATED),
    }))
}

/// In what the model computes, as Text Embeddings Inference names it.
fn dtype(cast: Cast) -> &'static str {
    match (cast.mode, cast.to) {
        (CastMode::None, _) => "float32",
        (_, CastType::Bf16) => "bfloat16",
        (_, CastType::Fp16) => "float16",
    }
}

fn model_type(model: &TaskModel) -> ModelType {
    match &*model.head {
        Head::FeatureExtraction { pooling, .. } => ModelType::Embedding {
            pooling: match pooling {
                Some(pooling) => format!("{pooling:?}").to_lowercase(),
                None => "none".to_owned(),
            },
        },
        Head::TextClassification { labels, .. } => {
            let ids = || labels.iter().cloned().enumerate();
            let names = Labels {
                id2label: ids().collect(),
                label2id: ids().map(|(id, label)| (label, id)).collect(),
            };
            match labels.len() {
                1 => ModelType::Reranker(names),
                _ => ModelType::Classifier(names),
            }
        }
        other => ModelType::Other {
            task: other.task().to_string(),
        },
    }
}

/// 200 while a request would be answered.
pub(super) async fn health(
    State(view): State<ServerView>,
    named: NamedModel,
) -> Result<StatusCode, TeiRefusal> {
    model::find(&view, named, |_| true)?;
    view.check_ready()?;
    Ok(StatusCode::OK)
}
