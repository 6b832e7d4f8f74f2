//! Management: what is served and how it does, and changes to it. Its routes are on a listener of their
//! own, where nobody but operators gets in. `docs/management.md` describes them.

pub(super) mod changes;
pub mod status;

use std::collections::BTreeMap;

use axum::response::IntoResponse as _;
use axum::routing::on;
use serde_json::json;

use crate::serve::http::error::NativeError;
use crate::serve::http::management::changes::{AliasRequest, CORES, ChangeAnswer, ModelRequest};
use crate::serve::http::management::status::{AliasStatus, CoreStatus, ModelStatus, ServerStatus};
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{Protocol, Route, RouteGroup};
use crate::serve::http::ui;

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "management",
    prefix: None,
    is_management: true,
    refuse: |refusal| refusal.into_response(),
    error: Schemas::answer::<NativeError<'static>>,
    groups: &[
        RouteGroup {
            tag: "management",
            at: "/admin",
            routes: LOOKS,
        },
        RouteGroup {
            tag: "management",
            at: "/ui",
            routes: ui::STATUS,
        },
        RouteGroup {
            tag: "management",
            at: "/admin",
            routes: CHANGES,
        },
    ],
};

const LOOKS: &[Route] = &[
    Route::get(
        "/status",
        |method, _| on(method, status::all),
        "What is served and how it does",
    )
    .for_admins()
    .answers::<ServerStatus>(),
    Route::get(
        "/cores",
        |method, _| on(method, status::cores),
        "The cores of it",
    )
    .for_admins()
    .answers::<Vec<CoreStatus>>(),
    Route::get(
        "/models",
        |method, _| on(method, status::models),
        "The models of it",
    )
    .for_admins()
    .answers::<Vec<ModelStatus>>(),
    Route::get(
        "/aliases",
        |method, _| on(method, status::aliases),
        "The aliases of it",
    )
    .for_admins()
    .answers::<BTreeMap<String, AliasStatus>>(),
];

/// The statuses of a change that needs something to be there.
const FOUND: &[u16] = &[404, 409, 422, 500];

/// The statuses of a change that may find nothing to do.
const ANYWAY: &[u16] = &[409, 422, 500];

const CHANGES: &[Route] = &[
    Route::put(
        "/models/{model}",
        |method, _| on(method, changes::put_model),
        "Loads a model, puts it on more cores, or replaces it by another bundle",
    )
    .for_admins()
    .may_name_new()
    .may_take::<ModelRequest>(|_| json!({"bundle": "/bundles/my-bundle", "cores": "0"}))
    .answers::<ChangeAnswer>()
    .refuses(FOUND),
    Route::delete(
        "/models/{model}",
        |method, _| on(method, changes::take_model),
        "Takes a model off cores, or away",
    )
    .for_admins()
    .may_name_new()
    .parameters(|_| {
        let cores = json!({"type": "string", "pattern": CORES, "examples": ["0"]});
        vec![
            json!({"name": "cores", "in": "query", "schema": cores}),
            json!({"name": "force", "in": "query", "schema": {"type": "boolean"}}),
        ]
    })
    .answers::<ChangeAnswer>()
    .refuses(ANYWAY),
    Route::put(
        "/aliases/{alias}",
        |method, _| on(method, changes::put_alias),
        "Makes a name stand for models, each with its share of the requests",
    )
    .for_admins()
    .takes::<AliasRequest>(|model| json!({"models": {model: 1}}))
    .answers::<ChangeAnswer>()
    .refuses(ANYWAY),
    Route::delete(
        "/aliases/{alias}",
        |method, _| on(method, changes::take_alias),
        "Takes an alias away",
    )
    .for_admins()
    .answers::<ChangeAnswer>()
    .refuses(ANYWAY),
    Route::post(
        "/aliases/{alias}/rollback",
        |method, _| on(method, changes::roll_back),
        "Gives an alias the models that it had before its last change",
    )
    .for_admins()
    .answers::<ChangeAnswer>()
    .refuses(FOUND),
];
