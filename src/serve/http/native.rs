//! The native protocol: requests and answers of the Hugging Face inference API, at a route of each model and
//! at the root; and what the server says of itself.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::on;
use serde_json::{Value, json};

use crate::serve::core::models::{ModelLease, ServedModel};
use crate::serve::http::access::Caller;
use crate::serve::http::body::RequestBody;
use crate::serve::http::error::NativeError;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{AnswerContent, Protocol, Route, RouteGroup};
use crate::serve::http::{health, json, metrics, openapi, ui};
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::{self, Prepared, TaskModel};

/// The statuses of refusals of a route that runs a model.
pub(super) const RUN_REFUSALS: &[u16] = &[404, 422, 429, 500, 503, 504];

const METRICS: AnswerContent = AnswerContent::Text(&["text/plain", "application/openmetrics-text"]);

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "native",
    prefix: None,
    is_management: false,
    refuse: |refusal| refusal.into_response(),
    error: Schemas::answer::<NativeError<'static>>,
    groups: &[
        RouteGroup {
            tag: "native",
            at: "",
            routes: ROUTES,
        },
        RouteGroup {
            tag: "native",
            at: "/docs",
            routes: ui::DOCS,
        },
    ],
};

const ROUTES: &[Route] = &[
    Route::post(
        "/predict/{model}",
        |method, _| on(method, predict),
        "The model's task, as the Hugging Face inference API has it",
    )
    .takes_json(task_request, task_example)
    .answers_with(AnswerContent::Json(any_answer))
    .refuses(RUN_REFUSALS),
    Route::post(
        "/",
        |method, _| on(method, root),
        "The same of the first model",
    )
    .takes_json(task_request, task_example)
    .answers_with(AnswerContent::Json(any_answer))
    .refuses(RUN_REFUSALS),
    Route::get(
        "/health/live",
        |method, _| on(method, health::live),
        "Whether the process answers",
    )
    .open()
    .answers_with(AnswerContent::Json(object)),
    Route::get(
        "/health/ready",
        |method, _| on(method, health::ready),
        "Whether every model has a core that is ready",
    )
    .open()
    .answers_with(AnswerContent::Json(object))
    .refuses(&[503])
    .unready(object),
    Route::get(
        "/openapi.json",
        |method, protocols| {
            let has_key = |caller: Option<Extension<Caller>>| caller.is_some();
            on(method, move |view, caller| {
                openapi::serve(protocols, view, has_key(caller))
            })
        },
        "This document",
    )
    .answers_with(AnswerContent::Json(object)),
    Route::get(
        "/metrics",
        |method, protocols| {
            on(method, move |view, headers| {
                metrics::serve(protocols, view, headers)
            })
        },
        "What the server counts, for Prometheus",
    )
    .probe()
    .answers_with(METRICS)
    .refuses(&[500]),
];

/// The schema of a request: what `inputs` is depends on the model's task.
pub(super) fn task_request(_: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"description": "docs/predict.md has the inputs of each task"},
            "parameters": {"type": ["object", "null"]},
            "options": {
                "type": ["object", "null"],
                "properties": {
                    "use_cache": {"type": "boolean"},
                    "wait_for_model": {"type": "boolean"},
                },
                "additionalProperties": false,
            },
        },
    })
}

pub(super) fn task_example(_: &str) -> Value {
    json!({"inputs": "the cat"})
}

/// The schema of an answer, which depends on the model's task too.
pub(super) fn any_answer(_: &mut Schemas) -> Value {
    json!({})
}

fn object(_: &mut Schemas) -> Value {
    json!({"type": "object"})
}

/// `POST /predict/{model}`.
async fn predict(
    State(view): State<ServerView>,
    model: Result<Path<String>, PathRejection>,
    body: RequestBody,
) -> Result<Response, Refusal> {
    // A name that is not UTF-8 is that of no model.
    let model = view.find_model(model.as_deref().map_or("", String::as_str))?;
    answer(&view, model, body).await
}

/// `POST /`, as clients do that know only an address: the first model.
async fn root(State(view): State<ServerView>, body: RequestBody) -> Result<Response, Refusal> {
    let model = view.default_model(|_| true)?;
    answer(&view, model, body).await
}

/// Answers a request of the model's task.
pub(super) async fn answer(
    view: &ServerView,
    model: ModelLease,
    body: RequestBody,
) -> Result<Response, Refusal> {
    let body = body.bytes()?;
    let prepare = move |model: &TaskModel| -> Result<Prepared, Refusal> {
        Ok(task::prepare(model, &json::parse_any(&body)?)?)
    };
    let write = |_: &ServedModel, prepared: Prepared, outputs: Outputs| {
        let answer = prepared.answer(outputs.values);
        json::write(&answer.map_err(Refusal::unanswerable)?, &outputs.summary)
    };
    run::answer(view, model, prepare, write).await
}
