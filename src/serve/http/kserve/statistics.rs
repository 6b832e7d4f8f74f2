//! The statistics extension, as Triton has it.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::core::models::ServedModel;
use crate::serve::core::statistics::{CountAndTime, InferenceTimes};
use crate::serve::http::kserve::error::KserveResult;
use crate::serve::http::kserve::model::{PathParts, VERSION, find};
use crate::serve::request::view::ServerView;

/// The statistics of one or all models.
#[derive(Serialize, JsonSchema)]
pub(super) struct StatisticsAnswer<'a> {
    model_stats: Vec<ModelStatistics<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct ModelStatistics<'a> {
    name: &'a str,
    version: &'static str,
    /// Milliseconds since 1970.
    last_inference: u64,
    /// Rows that ran; a text is one, a long context one for each window.
    inference_count: u64,
    /// Batches that ran.
    execution_count: u64,
    inference_stats: InferenceTimes,
    batch_stats: Vec<BatchStatistics>,
}

#[derive(Serialize, JsonSchema)]
struct BatchStatistics {
    batch_size: usize,
    compute_infer: CountAndTime,
}

/// `GET /v2/models/stats`.
pub(super) async fn all(State(view): State<ServerView>) -> KserveResult {
    answer(view.models().iter().map(|model| &**model))
}

/// `GET /v2/models/{model}/stats`.
pub(super) async fn of_model(State(view): State<ServerView>, parts: PathParts) -> KserveResult {
    let model = find(&view, parts)?;
    answer(std::iter::once(&*model))
}

fn answer<'a>(models: impl Iterator<Item = &'a ServedModel>) -> KserveResult {
    let of = |model: &'a ServedModel| {
        let counts = model.statistics.counts();
        let batch = |(batch_size, compute_infer)| BatchStatistics {
            batch_size,
            compute_infer,
        };
        ModelStatistics {
            name: &model.name,
            version: VERSION,
            last_inference: counts.last_inference,
            inference_count: counts.inference_count,
            execution_count: counts.execution_count,
            inference_stats: counts.inference_stats,
            batch_stats: counts.batches.into_iter().map(batch).collect(),
        }
    };
    let model_stats = models.map(of).collect();
    Ok(Json(StatisticsAnswer { model_stats }).into_response())
}
