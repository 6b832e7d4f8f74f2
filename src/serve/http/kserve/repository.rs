//! The model repository extension: the index is for everybody, loading and unloading for operators.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::on;
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::serve::core::models::ServedModel;
use crate::serve::http::access::keys::CallerRole;
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::http::kserve::error::KserveResult;
use crate::serve::http::kserve::model::VERSION;
use crate::serve::http::management::changes;
use crate::serve::http::protocol::{AnswerContent, Route};
use crate::serve::listener::ListenerRole;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run;
use crate::serve::request::view::ServerView;

/// The routes, below `/v2/repository`.
pub(super) const ROUTES: &[Route] = &[
    Route::post(
        "/index",
        |method, _| on(method, index),
        "The models and their states",
    )
    .may_take::<IndexRequest>(|_| json!({"ready": true}))
    .answers::<Vec<IndexEntry>>(),
    Route::post(
        "/models/{model}/load",
        |method, _| on(method, load),
        "Loads a model, if it is not loaded: for operators",
    )
    .may_name_new()
    .may_take::<LoadRequest>(|_| json!({"parameters": {"bundle": "/bundles/my-bundle"}}))
    .refuses(&[400, 404])
    .refuses_on_management(&[409, 500]),
    Route::post(
        "/models/{model}/unload",
        |method, _| on(method, unload),
        "Takes a model away: for operators",
    )
    .may_name_new()
    .answers_with(AnswerContent::NothingForOperators)
    .refuses(&[400, 404])
    .refuses_on_management(&[409, 500]),
];

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexRequest {
    /// Only models that are ready.
    #[serde(default)]
    ready: bool,
}

/// A model of the index.
#[derive(Serialize, JsonSchema)]
pub(super) struct IndexEntry {
    name: String,
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

/// A request that may say nothing.
fn optional<T: Default + DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    match body.is_empty() {
        true => Ok(T::default()),
        false => json::parse(body),
    }
}

/// `POST /v2/repository/index`.
async fn index(State(view): State<ServerView>, body: RequestBody) -> KserveResult {
    let request: IndexRequest = run::read(body.bytes()?, optional).await?;
    let entry = |model: &Arc<ServedModel>| {
        let ready = view.is_model_ready(model.id);
        IndexEntry {
            name: model.name.to_string(),
            version: VERSION,
            state: if ready {
                Availability::Ready
            } else {
                Availability::Unavailable
            },
            reason: if ready { "" } else { "no core is ready for it" },
        }
    };
    let models = view.models();
    let entries = models.iter().map(entry);
    let is_asked = |entry: &IndexEntry| !request.ready || entry.state == Availability::Ready;
    let entries: Vec<IndexEntry> = entries.filter(is_asked).collect();
    Ok(Json(entries).into_response())
}

/// What to load.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadRequest {
    #[serde(default)]
    parameters: LoadParameters,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoadParameters {
    /// The folder of the bundle, as the server sees it; not needed for a model that is served.
    bundle: Option<PathBuf>,
}

/// `POST /v2/repository/models/{model}/load`: for operators, except that whoever asks for a model that is
/// served has it.
async fn load(
    State(view): State<ServerView>,
    Extension(role): Extension<CallerRole>,
    model: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> KserveResult {
    let request: LoadRequest = run::read(body.bytes()?, optional).await?;
    let bundle = request.parameters.bundle;
    if is_for_operators(&view, role) {
        let name = changes::name_of(model)?;
        changes::load(&view, name, bundle, None).await.map(drop)?;
        return Ok(StatusCode::OK.into_response());
    }
    view.find_model(model.as_deref().map_or("", String::as_str))?;
    match bundle {
        None => Ok(StatusCode::OK.into_response()),
        Some(_) => Err(for_operators().into()),
    }
}

/// `POST /v2/repository/models/{model}/unload`: for operators. The protocol has no word for `force`.
async fn unload(
    State(view): State<ServerView>,
    Extension(role): Extension<CallerRole>,
    model: Result<Path<String>, PathRejection>,
) -> KserveResult {
    if is_for_operators(&view, role) {
        let name = changes::name_of(model)?;
        changes::unload(&view, name, None, true).await.map(drop)?;
        return Ok(StatusCode::OK.into_response());
    }
    view.find_model(model.as_deref().map_or("", String::as_str))?;
    Err(for_operators().into())
}

fn is_for_operators(view: &ServerView, role: CallerRole) -> bool {
    view.role == ListenerRole::Management && role == CallerRole::Admin
}

fn for_operators() -> Refusal {
    let message = "what is served is changed by operators, on the port for management";
    Refusal::new(Code::Unsupported, message)
}
