//! The routes of the FastAPI server of AWS's post, `GET /predictions_neuron_core_{i}/model_{j}` and
//! `GET /`: core and model are checked, and the core named is the one that answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::name_list;
use crate::family::Head;
use crate::serve::core::models::Use;
use crate::serve::http::{error, json, unknown_route, wrong_method};
use crate::serve::listener::ListenerRole;
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::question_answering::Span;
use crate::task::{self, Answer, OneOrMany, Prepared, TaskModel};

pub(super) const PREFIX: &str = "predictions_neuron_core_";

/// What is answered to a request that says nothing: the load generator of the post sends such.
const EXAMPLE: [&str; 2] = [
    "Which river crosses the city?",
    "The old bridge over the river Vltava joins the two halves of the city of Prague.",
];

/// Any path of two parts that no other route has.
pub(super) async fn predictions(
    State(view): State<ServerView>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    uri: Uri,
) -> Response {
    let Ok(Path((core, model))) = path else {
        return unknown_route(uri).await;
    };
    let Some(core) = core.strip_prefix(PREFIX) else {
        return unknown_route(uri).await;
    };
    if method != Method::GET {
        let mut response = wrong_method(method, uri).await;
        let allow = axum::http::HeaderValue::from_static("GET");
        response
            .headers_mut()
            .insert(axum::http::header::ALLOW, allow);
        return response;
    }
    let answered = answer(&view, core, &model, &uri).await;
    answered.unwrap_or_else(|refusal| Detail(refusal).into_response())
}

/// A refusal as FastAPI writes it.
pub(super) struct Detail(pub(super) Refusal);

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FastApiError")]
pub(super) struct FastApiError<'a> {
    detail: &'a str,
    code: &'static str,
}

impl IntoResponse for Detail {
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
pub(super) struct DetailAnswer {
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
    let mut prepared = run::prepare(&model, prepare).await?;
    let rows = std::mem::take(&mut prepared.value.rows);
    let outputs = run::run_rows(&view, &model, rows, prepared.took).await?;
    let values = outputs.size();
    let write = move || write(prepared.value, outputs);
    run::answer(values, write).await
}

fn write(prepared: Prepared, outputs: Outputs) -> Result<Response, Refusal> {
    let answer = prepared.answer(outputs.values);
    let answer = answer.map_err(|error| Refusal::unanswerable(&error))?;
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
fn find(view: &ServerView, core: &str, asked: &str) -> Result<Use, Refusal> {
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
pub(super) async fn health(State(view): State<ServerView>) -> (StatusCode, Json<Value>) {
    match view.is_ready() {
        true => (StatusCode::OK, Json(json!({"Status": "Healthy"}))),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"Status": "Unhealthy"})),
        ),
    }
}
