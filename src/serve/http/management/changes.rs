//! Changes of what is served: models are loaded, moved and taken away, and names are given to them.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::sentence;
use crate::placement::cores::CoreList;
use crate::serve::core::aliases::AliasTarget;
use crate::serve::core::management::{ChangeError, ChangeOutcome, DesiredState};
use crate::serve::core::names::check_model_name;
use crate::serve::core::state::ServedState;
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};

/// Lists of cores as the document has them. That they ascend is more than a pattern can say.
pub(super) const CORES: &str = "^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$";

/// What a change came to.
#[derive(Serialize, JsonSchema)]
pub(in crate::serve::http) struct ChangeAnswer {
    /// False where everything was already as asked for.
    changed: bool,
    message: String,
}

/// What to serve under the name of the path.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelRequest {
    /// The folder of the bundle, as the server sees it; not needed for a model that is served.
    bundle: Option<PathBuf>,
    /// Such as `0-3,6`; those of the model by default, or all.
    #[schemars(regex(pattern = CORES), extend("examples" = ["0"]))]
    cores: Option<String>,
}

/// What to take away.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeQuery {
    /// Such as `0-3,6`; all by default.
    cores: Option<String>,
    /// Take the last copy too.
    #[serde(default)]
    force: bool,
}

/// Models by their share of the requests, such as `{"old": 90, "new": 10}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasRequest {
    #[schemars(extend("minProperties" = 1))]
    models: std::collections::BTreeMap<String, u32>,
}

pub(in crate::serve::http) type ChangeResponse = Result<Json<ChangeAnswer>, Refusal>;

pub(super) async fn put_model(
    State(view): State<ServerView>,
    name: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> ChangeResponse {
    let name = name_of(name)?;
    let body = body.bytes()?;
    let request: ModelRequest = match body.is_empty() {
        true => ModelRequest::default(),
        false => json::parse(&body)?,
    };
    let cores = core_list(request.cores.as_deref())?;
    load(&view, name, request.bundle, cores).await
}

pub(super) async fn take_model(
    State(view): State<ServerView>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<TakeQuery>, QueryRejection>,
) -> ChangeResponse {
    let name = name_of(name)?;
    let Query(query) = query.map_err(|rejection| {
        Refusal::from(Invalid::new(
            InvalidCode::BadParameter,
            "",
            rejection.body_text(),
        ))
    })?;
    let cores = core_list(query.cores.as_deref())?;
    unload(&view, name, cores, query.force).await
}

/// Loads a model, or puts it on more cores; see [`ServedState::put_model`].
pub(in crate::serve::http) async fn load(
    view: &ServerView,
    name: String,
    bundle: Option<PathBuf>,
    cores: Option<CoreList>,
) -> ChangeResponse {
    change(view, move |served| {
        let wish = DesiredState {
            bundle: bundle.as_deref(),
            cores: cores.as_ref(),
        };
        served.put_model(&name, &wish)
    })
    .await
}

/// Takes a model off cores; see [`ServedState::take_model`].
pub(in crate::serve::http) async fn unload(
    view: &ServerView,
    name: String,
    cores: Option<CoreList>,
    force: bool,
) -> ChangeResponse {
    change(view, move |served| {
        served.take_model(&name, cores.as_ref(), force)
    })
    .await
}

pub(super) async fn put_alias(
    State(view): State<ServerView>,
    name: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> ChangeResponse {
    let name = name_of(name)?;
    let request: AliasRequest = json::parse(&body.bytes()?)?;
    let target = |(model, weight)| AliasTarget { model, weight };
    let targets = request.models.into_iter().map(target).collect();
    change(&view, move |served| served.put_alias(&name, targets)).await
}

pub(super) async fn take_alias(
    State(view): State<ServerView>,
    name: Result<Path<String>, PathRejection>,
) -> ChangeResponse {
    let name = name_of(name)?;
    change(&view, move |served| served.take_alias(&name)).await
}

pub(super) async fn roll_back(
    State(view): State<ServerView>,
    name: Result<Path<String>, PathRejection>,
) -> ChangeResponse {
    let name = name_of(name)?;
    change(&view, move |served| served.roll_back_alias(&name)).await
}

/// The name in a path, if it is one.
pub(in crate::serve::http) fn name_of(
    name: Result<Path<String>, PathRejection>,
) -> Result<String, Refusal> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let checked = check_model_name(&name);
    checked.map_err(|why| Invalid::new(InvalidCode::BadParameter, "", why))?;
    Ok(name)
}

fn core_list(text: Option<&str>) -> Result<Option<CoreList>, Refusal> {
    let parsed = text
        .map(|text| CoreList::parse(text, "`cores`:"))
        .transpose();
    parsed
        .map_err(|error| Invalid::new(InvalidCode::BadParameter, "cores", sentence(&error)).into())
}

/// Makes a change where it may take its time. It goes on when the client hangs up.
async fn change(
    view: &ServerView,
    make: impl FnOnce(&ServedState) -> Result<ChangeOutcome, ChangeError> + Send + 'static,
) -> ChangeResponse {
    let frontend = Arc::clone(&view.frontend);
    let made = tokio::task::spawn_blocking(move || make(&frontend.served)).await;
    let made = made.map_err(|error| {
        tracing::error!("a change panicked: {error}");
        Refusal::new(
            Code::Internal,
            "neuronc failed on this change; its log says more",
        )
    })?;
    match made {
        Ok(ChangeOutcome { changed, message }) => {
            tracing::info!(changed, "management: {message}");
            Ok(Json(ChangeAnswer { changed, message }))
        }
        Err(trouble) => Err(refused(trouble)),
    }
}

fn refused(trouble: ChangeError) -> Refusal {
    let (code, message) = match trouble {
        ChangeError::Unknown(message) => (Code::UnknownModel, message),
        ChangeError::Invalid(message) => (Code::Invalid(InvalidCode::BadParameter), message),
        ChangeError::Conflict(message) => (Code::Conflict, message),
        ChangeError::Failed(message) => (Code::ChangeFailed, message),
    };
    tracing::warn!("management: {message}");
    Refusal::new(code, message)
}
