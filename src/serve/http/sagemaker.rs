//! The protocol of SageMaker's endpoints: requests and answers are those of the native protocol.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::on;
use serde_json::json;

use crate::serve::http::body::RequestBody;
use crate::serve::http::error::NativeError;
use crate::serve::http::native::{self, RUN_REFUSALS};
use crate::serve::http::openapi::parameters;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{AnswerContent, Protocol, Route, RouteGroup};
use crate::serve::request::refusal::Refusal;
use crate::serve::request::view::ServerView;

/// The header in which a client of an endpoint says which model it means.
const TARGET_MODEL: &str = "x-amzn-sagemaker-target-model";

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "sagemaker",
    prefix: None,
    is_management: false,
    refuse: |refusal| refusal.into_response(),
    error: Schemas::answer::<NativeError<'static>>,
    groups: &[RouteGroup {
        tag: "sagemaker",
        at: "",
        routes: &[
            Route::get(
                "/ping",
                |method, _| on(method, ping),
                "Whether a request would be answered",
            )
            .open()
            .refuses(&[503]),
            Route::post(
                "/invocations",
                |method, _| on(method, invocations),
                "As POST /predict/{model}, of the model in X-Amzn-SageMaker-Target-Model or the first",
            )
            .takes_json(native::task_request, native::task_example)
            .parameters(|names| {
                vec![json!({
                    "name": "X-Amzn-SageMaker-Target-Model",
                    "in": "header",
                    "schema": parameters::served_name(names),
                })]
            })
            .answers_with(AnswerContent::Json(native::any_answer))
            .refuses(RUN_REFUSALS),
        ],
    }],
};

/// `POST /invocations`: the model that the header names, the first one without.
async fn invocations(
    State(view): State<ServerView>,
    headers: HeaderMap,
    body: RequestBody,
) -> Result<Response, Refusal> {
    let model = match headers.get(TARGET_MODEL) {
        Some(name) => view.find_model(name.to_str().unwrap_or_default())?,
        None => view.default_model(|_| true)?,
    };
    native::answer(&view, model, body).await
}

/// `GET /ping`: 200 while a request would be answered.
async fn ping(State(view): State<ServerView>) -> Result<StatusCode, Refusal> {
    view.check_ready()?;
    Ok(StatusCode::OK)
}
