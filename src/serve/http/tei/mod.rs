//! The protocol of Text Embeddings Inference: `/embed` and its like, for the first model that the route
//! is for, and under `/tei/{model}` for each.

mod classify;
pub(super) mod info;
pub(super) mod tokens;

use std::num::NonZeroUsize;
use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::family::Head;
use crate::serve::core::models::Use;
use crate::serve::http::body::RequestBody;
use crate::serve::http::tei::info::Computed;
use crate::serve::http::{error, json};
use crate::serve::request::refusal::{Code, Refusal};
use crate::serve::request::run::{self, Outputs};
use crate::serve::request::view::ServerView;
use crate::task::feature_extraction::{self, Embeddings};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::tokens::{Side, Text, Truncation};
use crate::task::{Answer, OneOrMany, Prepared, TaskModel};

/// A path parameter that only the routes under `/tei/{model}` have.
type Named = Result<Option<Path<String>>, PathRejection>;
type TeiResult = Result<Response, TeiRefusal>;

/// The routes, below `prefix`.
pub(super) fn routes(prefix: &str) -> Router<ServerView> {
    let at = |name: &str| format!("{prefix}/{name}");
    Router::new()
        .route(&at("embed"), post(embed))
        .route(&at("embed_all"), post(embed_all))
        .route(&at("similarity"), post(similarity))
        .route(&at("predict"), post(classify::predict))
        .route(&at("rerank"), post(classify::rerank))
        .route(&at("tokenize"), post(tokens::tokenize))
        .route(&at("decode"), post(tokens::decode))
        .route(&at("info"), get(info::info))
        .route(&at("health"), get(info::health))
}

pub(super) use classify::{PredictRequest, Rank, RerankRequest};

/// A refusal in the form of Text Embeddings Inference.
pub(super) struct TeiRefusal(Refusal);

impl<T: Into<Refusal>> From<T> for TeiRefusal {
    fn from(refusal: T) -> Self {
        Self(refusal.into())
    }
}

/// The body of every refusal of these routes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TeiError")]
pub(super) struct TeiError<'a> {
    error: &'a str,
    error_type: ErrorType,
}

/// Whose fault it is.
#[derive(Serialize, JsonSchema)]
enum ErrorType {
    Unhealthy,
    Backend,
    Overloaded,
    Validation,
    Tokenizer,
    Empty,
}

impl IntoResponse for TeiRefusal {
    fn into_response(self) -> Response {
        let (status, error_type) = match self.0.code() {
            Code::Invalid(InvalidCode::Empty) => (400, ErrorType::Empty),
            Code::Invalid(InvalidCode::TooMany | InvalidCode::TooLong) => {
                (413, ErrorType::Validation)
            }
            Code::Invalid(InvalidCode::WrongTask) => (424, ErrorType::Backend),
            Code::Invalid(InvalidCode::Untokenizable) => (422, ErrorType::Tokenizer),
            Code::Numeric | Code::WorkerDied | Code::Internal => (424, ErrorType::Backend),
            Code::QueueFull | Code::KeyLimit => (429, ErrorType::Overloaded),
            Code::DeadlineExceeded => (504, ErrorType::Overloaded),
            Code::TooManyBytes => (503, ErrorType::Overloaded),
            Code::NotReady | Code::Stopping => (503, ErrorType::Unhealthy),
            other => (error::status(other).as_u16(), ErrorType::Validation),
        };
        let body = TeiError {
            error: self.0.message(),
            error_type,
        };
        error::with_status(&self.0, status, Json(body).into_response())
    }
}

#[derive(Default, Clone, Copy, Deserialize, Serialize, JsonSchema)]
enum Direction {
    Left,
    #[default]
    #[serde(alias = "right")]
    Right,
}

fn truncation(truncate: Option<bool>, direction: Direction) -> Truncation {
    truncation_by("`\"truncate\": true`", truncate, direction)
}

/// The same where a request asks for it with other words.
fn truncation_by(words: &'static str, truncate: Option<bool>, direction: Direction) -> Truncation {
    match (truncate, direction) {
        (Some(true), Direction::Left) => Truncation::Cut(Side::Left),
        (Some(true), Direction::Right) => Truncation::Cut(Side::Right),
        _ => Truncation::Refuse {
            unless: Some(words),
        },
    }
}

/// Bundles have no prompts: a request that wants one would be answered with something else.
pub(super) fn no_prompt(name: Option<&String>) -> Result<(), Invalid> {
    match name {
        None => Ok(()),
        Some(_) => Err(Invalid::new(
            InvalidCode::BadParameter,
            "prompt_name",
            "`prompt_name` is given, and this model has no prompts",
        )),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbedRequest {
    /// A text, the ids of its tokens, or a list of either.
    inputs: OneOrMany<Text>,
    #[serde(default = "yes")]
    normalize: bool,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    /// Keeps the first so many values of each vector.
    dimensions: Option<NonZeroUsize>,
    prompt_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// The first model that gives a vector for a text, or the one that the path names.
fn embedder(view: &ServerView, named: Named) -> Result<Use, Refusal> {
    model(view, named, |head| {
        matches!(
            head,
            Head::FeatureExtraction {
                pooling: Some(_),
                ..
            }
        )
    })
}

pub(super) fn model(
    view: &ServerView,
    named: Named,
    is_for: impl Fn(&Head) -> bool,
) -> Result<Use, Refusal> {
    match named {
        Ok(Some(Path(name))) => view.find_model(&name),
        Ok(None) => view.default_model(is_for),
        // A name that is not UTF-8 is that of no model.
        Err(_) => view.find_model(""),
    }
}

/// One vector for each text.
async fn embed(State(view): State<ServerView>, named: Named, body: RequestBody) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: EmbedRequest = json::parse(body)?;
        let characters: usize = texts(&request.inputs).map(count).sum();
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let model = embedder(&view, named)?;
    no_prompt(request.prompt_name.as_ref())?;
    let (normalize, dimensions) = (request.normalize, request.dimensions);
    let prepare = move |model: &TaskModel| {
        let options = feature_extraction::Options {
            truncation: truncation(request.truncate, request.truncation_direction),
            normalize: Some(request.normalize),
        };
        feature_extraction::embeddings(model, &request.inputs, "inputs", options)
    };
    let mut prepared = run::prepare(&model, prepare).await?;
    let tokens = prepared.value.tokens();
    let rows = std::mem::take(&mut prepared.value.rows);
    let outputs = run::run_rows(&view, &model, rows, prepared.took).await?;
    let values = outputs.size();
    let computed = Computed::new(model, (begun, characters), tokens, &outputs);
    let write = move || {
        let vectors = vectors(prepared.value, outputs)?;
        let shorten = |vector| feature_extraction::shorten(vector, dimensions, normalize);
        let vectors: Vec<Vec<f32>> = vectors.into_iter().map(shorten).collect::<Result<_, _>>()?;
        computed.answer(&vectors)
    };
    Ok(run::answer(values, write).await?)
}

/// The texts of a request; ids have no characters.
fn texts(inputs: &OneOrMany<Text>) -> impl Iterator<Item = &str> {
    inputs.as_slice().iter().filter_map(|text| match text {
        Text::Text(text) => Some(text.as_str()),
        Text::Ids(_) => None,
    })
}

fn count(text: &str) -> usize {
    text.chars().count()
}

fn vectors(prepared: Embeddings, outputs: Outputs) -> Result<Vec<Vec<f32>>, Refusal> {
    let vectors = prepared.vectors(outputs.values);
    vectors.map_err(|error| Refusal::unanswerable(&error))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbedAllRequest {
    inputs: OneOrMany<String>,
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    prompt_name: Option<String>,
}

/// One vector for each token of each text, from models that do not pool.
async fn embed_all(State(view): State<ServerView>, named: Named, body: RequestBody) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: EmbedAllRequest = json::parse(body)?;
        let texts = request.inputs.as_slice().iter();
        let characters: usize = texts.map(|text| count(text)).sum();
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let is_for = |head: &Head| matches!(head, Head::FeatureExtraction { pooling: None, .. });
    let model = model(&view, named, is_for)?;
    no_prompt(request.prompt_name.as_ref())?;
    let prepare = move |model: &TaskModel| {
        let truncation = truncation(request.truncate, request.truncation_direction);
        feature_extraction::token_embeddings(model, &request.inputs, "inputs", truncation)
    };
    let write = |answer, computed: Computed| match answer {
        Answer::TokenVectors(vectors) => computed.answer(&vectors.as_slice()),
        _ => Err(unexpected()),
    };
    run(&view, model, prepare, (begun, characters), write).await
}

/// Runs what `prepare` makes of a request that began then and has so many characters; `write` writes its
/// answer.
async fn run(
    view: &ServerView,
    model: Use,
    prepare: impl FnOnce(&TaskModel) -> Result<Prepared, Invalid> + Send + 'static,
    asked: (Instant, usize),
    write: impl FnOnce(Answer, Computed) -> Result<Response, Refusal> + Send + 'static,
) -> TeiResult {
    let mut prepared = run::prepare(&model, prepare).await?;
    let rows = std::mem::take(&mut prepared.value.rows);
    let tokens = rows.iter().map(|row| row.ids.len()).sum();
    let outputs = run::run_rows(view, &model, rows, prepared.took).await?;
    let values = outputs.size();
    let computed = Computed::new(model, asked, tokens, &outputs);
    let write = move || {
        let answer = prepared.value.answer(outputs.values);
        write(
            answer.map_err(|error| Refusal::unanswerable(&error))?,
            computed,
        )
    };
    Ok(run::answer(values, write).await?)
}

fn unexpected() -> Refusal {
    Refusal::new(
        Code::Internal,
        "the answer is of another kind than the route",
    )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarityRequest {
    inputs: SimilarityInput,
    parameters: Option<SimilarityParameters>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SimilarityInput {
    source_sentence: String,
    sentences: Vec<String>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SimilarityParameters {
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Direction,
    prompt_name: Option<String>,
}

/// The cosine of each sentence and the source sentence.
async fn similarity(State(view): State<ServerView>, named: Named, body: RequestBody) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: SimilarityRequest = json::parse(body)?;
        let SimilarityInput {
            source_sentence,
            sentences,
        } = &request.inputs;
        let sentences = sentences.iter().map(|text| count(text));
        let characters = count(source_sentence) + sentences.sum::<usize>();
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let model = embedder(&view, named)?;
    let SimilarityInput {
        source_sentence,
        sentences,
    } = request.inputs;
    let parameters = request.parameters.unwrap_or_default();
    no_prompt(parameters.prompt_name.as_ref())?;
    let options = feature_extraction::Options {
        truncation: truncation_by(
            "`\"truncate\": true` in `parameters`",
            parameters.truncate,
            parameters.truncation_direction,
        ),
        normalize: Some(true),
    };
    let prepare = move |model: &TaskModel| {
        let source = OneOrMany::One(Text::Text(source_sentence));
        let others = OneOrMany::Many(sentences.into_iter().map(Text::Text).collect());
        let embed = |texts, path| feature_extraction::embeddings(model, texts, path, options);
        Ok::<_, Invalid>([
            embed(&others, "inputs.sentences")?,
            embed(&source, "inputs.source_sentence")?,
        ])
    };
    let prepared = run::prepare(&model, prepare).await?;
    let [mut others, mut source] = prepared.value;
    let tokens = others.tokens() + source.tokens();
    let mut rows = std::mem::take(&mut others.rows);
    rows.append(&mut source.rows);
    let mut outputs = run::run_rows(&view, &model, rows, prepared.took).await?;
    let values = outputs.size();
    let computed = Computed::new(model, (begun, characters), tokens, &outputs);
    let write = move || {
        let of_source: Vec<Vec<f32>> = outputs.values.pop().into_iter().collect();
        let of_source = source.vectors(of_source);
        let of_source = of_source.map_err(|error| Refusal::unanswerable(&error))?;
        let cosines: Vec<f32> = vectors(others, outputs)?
            .iter()
            .map(|other| feature_extraction::dot(other, of_source.first().map_or(&[], |v| v)))
            .collect();
        computed.answer(&cosines)
    };
    Ok(run::answer(values, write).await?)
}
