//! The model repository extension. What is served was decided when the server started: a model that is
//! served counts as loaded, and nothing can be unloaded. [`change`] is where management will come in.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::serve::Entrance;
use crate::serve::http::answer::{self, Code, Refusal};
use crate::serve::http::kserve::{KserveResult, VERSION};
use crate::serve::http::work;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::serve::http) struct IndexRequest {
    /// Only models that are ready.
    #[serde(default)]
    ready: bool,
}

/// A model of the index.
#[derive(Serialize, JsonSchema)]
pub(in crate::serve::http) struct IndexEntry<'a> {
    name: &'a str,
    version: &'static str,
    state: Availability,
    reason: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Availability {
    Ready,
    Unavailable,
}

/// `POST /v2/repository/index`.
pub(super) async fn index(
    State(entrance): State<Entrance>,
    body: Result<Bytes, BytesRejection>,
) -> KserveResult {
    let body = answer::bytes(&entrance.served, body)?;
    let request: IndexRequest = match body.is_empty() {
        true => IndexRequest::default(),
        false => answer::from_json(&body)?,
    };
    let entry = |model: usize| {
        let ready = entrance.is_model_ready(model);
        IndexEntry {
            name: &entrance.served.models[model].name,
            version: VERSION,
            state: if ready {
                Availability::Ready
            } else {
                Availability::Unavailable
            },
            reason: if ready { "" } else { "no core is ready for it" },
        }
    };
    let entries = entrance.models().map(entry);
    let is_asked = |entry: &IndexEntry<'_>| !request.ready || entry.state == Availability::Ready;
    let entries: Vec<IndexEntry<'_>> = entries.filter(is_asked).collect();
    Ok(Json(entries).into_response())
}

/// What may be asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Load,
    Unload,
}

/// `POST /v2/repository/models/{model}/load`.
pub(super) async fn load(
    State(entrance): State<Entrance>,
    model: Result<Path<String>, PathRejection>,
) -> KserveResult {
    change(&entrance, model, Change::Load)
}

/// `POST /v2/repository/models/{model}/unload`.
pub(super) async fn unload(
    State(entrance): State<Entrance>,
    model: Result<Path<String>, PathRejection>,
) -> KserveResult {
    change(&entrance, model, Change::Unload)
}

/// Changes what is served, as far as that can be done while the server runs.
fn change(
    entrance: &Entrance,
    model: Result<Path<String>, PathRejection>,
    change: Change,
) -> KserveResult {
    work::find_model(entrance, model.as_deref().map_or("", String::as_str))?;
    match change {
        // It is loaded already.
        Change::Load => Ok(StatusCode::OK.into_response()),
        Change::Unload => Err(Refusal::new(
            Code::Unsupported,
            "a model cannot be unloaded by this route while the server runs",
        )
        .help("start the server without it")
        .into()),
    }
}
