//! `/embed`, `/embed_all` and `/similarity` of Text Embeddings Inference: vectors of texts, and cosines.

use std::num::NonZeroUsize;
use std::time::Instant;

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::bucket::Row;
use crate::family::Head;
use crate::serve::core::models::{ModelLease, ServedModel};
use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::http::tei::cost::{self, TextRequest};
use crate::serve::http::tei::error::{self, TeiResult};
use crate::serve::http::tei::model::{self, NamedModel};
use crate::serve::http::tei::options::{Direction, no_prompt, truncation, truncation_by};
use crate::serve::request::refusal::Refusal;
use crate::serve::request::run::{self, Outputs, PreparedRequest};
use crate::serve::request::view::ServerView;
use crate::task::feature_extraction::{self, Embeddings};
use crate::task::invalid::Invalid;
use crate::task::tokens::Text;
use crate::task::{Answer, OneOrMany, Prepared, TaskModel};

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
fn embedder(view: &ServerView, named: NamedModel) -> Result<ModelLease, Refusal> {
    model::find(view, named, |head| {
        matches!(
            head,
            Head::FeatureExtraction {
                pooling: Some(_),
                ..
            }
        )
    })
}

/// One vector for each text.
pub(super) async fn embed(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: EmbedRequest = json::parse(body)?;
        let characters: usize = texts(&request.inputs).map(cost::characters).sum();
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
    let text_request = TextRequest { begun, characters };
    let write = move |model: &ServedModel, embeddings: Embeddings, outputs: Outputs| {
        let vectors = embeddings.vectors(outputs.values);
        let vectors = vectors.map_err(Refusal::unanswerable)?;
        let shorten = |vector| feature_extraction::shorten(vector, dimensions, normalize);
        let vectors: Vec<Vec<f32>> = vectors.into_iter().map(shorten).collect::<Result<_, _>>()?;
        text_request.write(&vectors, model, &outputs.summary)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}

/// The texts of a request; ids have no characters.
fn texts(inputs: &OneOrMany<Text>) -> impl Iterator<Item = &str> {
    inputs.as_slice().iter().filter_map(|text| match text {
        Text::Text(text) => Some(text.as_str()),
        Text::Ids(_) => None,
    })
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
pub(super) async fn embed_all(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: EmbedAllRequest = json::parse(body)?;
        let texts = request.inputs.as_slice().iter();
        let characters: usize = texts.map(|text| cost::characters(text)).sum();
        Ok((request, characters))
    };
    let (request, characters) = run::read(body.bytes()?, read).await?;
    let is_for = |head: &Head| matches!(head, Head::FeatureExtraction { pooling: None, .. });
    let model = model::find(&view, named, is_for)?;
    no_prompt(request.prompt_name.as_ref())?;
    let prepare = move |model: &TaskModel| {
        let truncation = truncation(request.truncate, request.truncation_direction);
        feature_extraction::token_embeddings(model, &request.inputs, "inputs", truncation)
    };
    let text_request = TextRequest { begun, characters };
    let write = move |model: &ServedModel, prepared: Prepared, outputs: Outputs| {
        let answer = prepared.answer(outputs.values);
        match answer.map_err(Refusal::unanswerable)? {
            Answer::TokenVectors(vectors) => {
                text_request.write(&vectors.as_slice(), model, &outputs.summary)
            }
            _ => Err(error::unexpected()),
        }
    };
    Ok(run::answer(&view, model, prepare, write).await?)
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
pub(super) async fn similarity(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> TeiResult {
    let begun = Instant::now();
    let read = |body: &[u8]| {
        let request: SimilarityRequest = json::parse(body)?;
        let SimilarityInput {
            source_sentence,
            sentences,
        } = &request.inputs;
        let sentences = sentences.iter().map(|text| cost::characters(text));
        let characters = cost::characters(source_sentence) + sentences.sum::<usize>();
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
        Ok::<_, Invalid>(ComparedTexts {
            others: embed(&others, "inputs.sentences")?,
            source: embed(&source, "inputs.source_sentence")?,
        })
    };
    let text_request = TextRequest { begun, characters };
    let write = move |model: &ServedModel, prepared: ComparedTexts, mut outputs: Outputs| {
        let source: Vec<Vec<f32>> = outputs.values.pop().into_iter().collect();
        let source = prepared.source.vectors(source);
        let source = source.map_err(Refusal::unanswerable)?;
        let others = prepared.others.vectors(outputs.values);
        let others = others.map_err(Refusal::unanswerable)?;
        let source = source.first().map_or(&[][..], |vector| vector);
        let cosines = others
            .iter()
            .map(|other| feature_extraction::dot(other, source));
        let cosines: Vec<f32> = cosines.collect();
        text_request.write(&cosines, model, &outputs.summary)
    };
    Ok(run::answer(&view, model, prepare, write).await?)
}

/// The texts of a similarity.
struct ComparedTexts {
    others: Embeddings,
    /// A single text.
    source: Embeddings,
}

impl PreparedRequest for ComparedTexts {
    /// The source comes last.
    fn take_rows(&mut self) -> Vec<Row> {
        let mut rows = self.others.take_rows();
        rows.append(&mut self.source.rows);
        rows
    }
}
