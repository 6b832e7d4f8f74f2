//! The protocol of the FastAPI server in AWS's post, `GET /predictions_neuron_core_{i}/model_{j}` and `GET /`:
//! core and model are checked, and the core named is the one that answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, on};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::name_list;
use crate::family::Head;
use crate::serve::core::models::{ModelLease, ServedModel};
use crate::serve::http::native::RUN_REFUSALS;
use crate::serve::http::openapi::schemas::Schemas;
use crate::serve::http::protocol::{AnswerContent, Protocol, Protocols, Route, RouteGroup};
use crate::serve::http::{error, json, unrouted};
use crate::serve::listener::ListenerRole;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::question_answering::Span;
use crate::task::{self, Answer, OneOrMany, Prepared, TaskModel};

/// The first segment of a path, before the number of the core.
const SEGMENT: &str = "predictions_neuron_core_";

/// What is answered to a request that says nothing: the load generator of the post sends such.
const EXAMPLE: [&str; 2] = [
    "Which river crosses the city?",
    "The old bridge over the river Vltava joins the two halves of the city of Prague.",
];

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "fastapi",
    prefix: Some("/predictions_neuron_core_"),
    is_management: false,
    refuse: |refusal| FastApiRefusal(refusal).into_response(),
    error: Schemas::answer::<FastApiError<'static>>,
    groups: &[RouteGroup {
        tag: "fastapi",
        at: "",
        routes: &[
            Route::get(
                "/",
                |method, _| on(method, health),
                "Whether a request would be answered",
            )
            .probe()
            .answers_with(AnswerContent::Json(health_schema))
            .refuses(&[503])
            .unready(health_schema),
            // The router has no pattern for a part of a segment.
            Route::get(
                "/{core}/{model}",
                |_, protocols| {
                    let predictions =
                        |view, path, method, uri| predictions(protocols, view, path, (method, uri));
                    any(predictions)
                },
                "The answer to the question seq_0 in the context seq_1, by that core",
            )
            .documented_as("/predictions_neuron_core_{core}/model_{j}")
            .parameters(|_| {
                let text =
                    |name| json!({"name": name, "in": "query", "schema": {"type": "string"}});
                vec![text("seq_0"), text("seq_1")]
            })
            .answers::<DetailAnswer>()
            .refuses(RUN_REFUSALS),
        ],
    }],
};

fn health_schema(_: &mut Schemas) -> Value {
    json!({"type": "object", "required": ["Status"], "properties":
        {"Status": {"enum": ["Healthy", "Unhealthy"]}}})
}

/// Answers any path of two segments that no other route has.
async fn predictions(
    protocols: &Protocols,
    State(view): State<ServerView>,
    path: Result<Path<(String, String)>, PathRejection>,
    (method, uri): (Method, Uri),
) -> Response {
    let Ok(Path((core, model))) = path else {
        return unrouted::unknown_route(protocols, &uri);
    };
    let Some(core) = core.strip_prefix(SEGMENT) else {
        return unrouted::unknown_route(protocols, &uri);
    };
    if method != Method::GET {
        let mut response = unrouted::wrong_method(protocols, &method, &uri);
        let allow = HeaderValue::from_static("GET");
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    let answered = answer(&view, core, &model, &uri).await;
    answered.unwrap_or_else(|refusal| FastApiRefusal(refusal).into_response())
}

/// A refusal as FastAPI writes it.
struct FastApiRefusal(Refusal);

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FastApiError")]
struct FastApiError<'a> {
    detail: &'a str,
    code: &'static str,
}

impl IntoResponse for FastApiRefusal {
    fn into_response(self) -> Response {
        let body = FastApiError {
            detail: self.0.message(),
            code: self.0.name(),
        };
        error::with_headers(&self.0, Json(body).into_response())
    }
}

/// The answer: what the FastAPI server says, and what one must know of it.
#[derive(Serialize, JsonSchema)]
struct DetailAnswer {
    /// The answer as it stands in the context.
    detail: String,
    score: f32,
    /// The context has no answer, and `detail` is empty.
    no_answer: bool,
}

async fn answer(
    view: &ServerView,
    core: &str,
    model: &str,
    uri: &Uri,
) -> Result<Response, Refusal> {
    let view = through(view, core)?;
    let model = find(&view, core, model)?;
    let [question, context] = texts(uri)?;
    let body = json!({
        "inputs": {"question": question, "context": context},
        "parameters": {"handle_impossible_answer": true},
    });
    let prepare = move |model: &TaskModel| {
        if !matches!(*model.head, Head::QuestionAnswering) {
            return Err(model.wrong_task("question-answering"));
        }
        task::prepare(model, &body).map_err(renamed)
    };
    run::answer(&view, model, prepare, write).await
}

fn write(_: &ServedModel, prepared: Prepared, outputs: Outputs) -> Result<Response, Refusal> {
    let answer = prepared.answer(outputs.values);
    let answer = answer.map_err(Refusal::unanswerable)?;
    let Answer::Spans(OneOrMany::One(OneOrMany::One(span))) = answer else {
        let message = "the answer is not one span";
        return Err(Refusal::new(Code::Internal, message));
    };
    let Span { score, answer, .. } = span;
    let answer = DetailAnswer {
        no_answer: answer.is_empty(),
        detail: answer,
        score,
    };
    json::write(&answer, &outputs.summary)
}

/// The server as it is through one core.
fn through(view: &ServerView, core: &str) -> Result<ServerView, Refusal> {
    let cores = &view.served().workers;
    let is_here = |worker: &usize| view.worker().is_none_or(|only| only == *worker);
    let has = |worker: &usize| {
        let number = core.parse::<u32>().ok();
        number.is_some_and(|number| cores[*worker].has(number))
    };
    let worker = (0..cores.len()).filter(is_here).find(has).ok_or_else(|| {
        let names: Vec<String> = (0..cores.len())
            .filter(is_here)
            .map(|worker| cores[worker].name.to_string())
            .collect();
        Refusal::new(Code::UnknownModel, "there is no such core").help(&format!(
            "cores: {}",
            name_list(names.iter().map(String::as_str))
        ))
    })?;
    Ok(ServerView {
        frontend: Arc::clone(&view.frontend),
        role: ListenerRole::Worker(worker),
    })
}

/// The model of that name, or number j of the core's models by `model_j`.
fn find(view: &ServerView, core: &str, asked: &str) -> Result<ModelLease, Refusal> {
    if let Ok(model) = view.find_model(asked) {
        return Ok(model);
    }
    let place: Option<usize> = asked.strip_prefix("model_").and_then(|j| j.parse().ok());
    let mut places = 0..;
    let found = view.first(|_| places.next() == place);
    found.ok_or_else(|| {
        let count = view.models().len();
        let names: Vec<String> = (0..count).map(|place| format!("model_{place}")).collect();
        Refusal::new(Code::UnknownModel, format!("core {core} has no such model")).help(&format!(
            "models: {}",
            name_list(names.iter().map(String::as_str))
        ))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    seq_0: Option<String>,
    seq_1: Option<String>,
}

/// Question and context; what neither is given for has an example.
fn texts(uri: &Uri) -> Result<[String; 2], Refusal> {
    let Query(query) = Query::<Texts>::try_from_uri(uri).map_err(|rejection| {
        let message = rejection.body_text();
        Refusal::from(Invalid::new(InvalidCode::WrongType, "", message))
    })?;
    match (query.seq_0, query.seq_1) {
        (None, None) => Ok(EXAMPLE.map(str::to_owned)),
        (Some(question), Some(context)) => Ok([question, context]),
        (question, _) => {
            let missing = if question.is_none() { "seq_0" } else { "seq_1" };
            let message = format!(
                "`{missing}` is missing: `seq_0` is a question, `seq_1` the context of its answer"
            );
            Err(Invalid::new(InvalidCode::MissingField, missing, message).into())
        }
    }
}

/// A refusal in the names of the query.
fn renamed(invalid: Invalid) -> Invalid {
    let rename = |text: String| {
        let text = text.replace("inputs.question", "seq_0");
        text.replace("inputs.context", "seq_1")
    };
    Invalid {
        code: invalid.code,
        field: invalid.field.map(rename),
        message: rename(invalid.message),
    }
}

/// `GET /`: healthy while a request would be answered.
async fn health(State(view): State<ServerView>) -> (StatusCode, Json<Value>) {
    match view.is_ready() {
        true => (StatusCode::OK, Json(json!({"Status": "Healthy"}))),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"Status": "Unhealthy"})),
        ),
    }
}
