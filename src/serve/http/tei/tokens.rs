//! `/tokenize` and `/decode` of Text Embeddings Inference: what the model's tokenizer makes of texts.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::serve::http::body::RequestBody;
use crate::serve::http::json;
use crate::serve::http::tei::error::TeiRefusal;
use crate::serve::http::tei::model::{self, NamedModel};
use crate::serve::http::tei::options::no_prompt;
use crate::serve::request::run;
use crate::serve::request::view::ServerView;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::{OneOrMany, TaskModel, check_count};
use crate::tokenizer::Tokens;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenizeRequest {
    inputs: OneOrMany<String>,
    #[serde(default = "yes")]
    add_special_tokens: bool,
    prompt_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// A token of a text.
#[derive(Serialize, JsonSchema)]
pub(super) struct Token {
    id: i64,
    /// As it stands in the request.
    text: String,
    /// The model's, not the text's.
    special: bool,
    /// The first character.
    start: Option<usize>,
    /// The character after the last one.
    stop: Option<usize>,
}

/// The tokens of each text, however long they are.
pub(super) async fn tokenize(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> Result<Response, TeiRefusal> {
    let request = run::read(body.bytes()?, json::parse::<TokenizeRequest>).await?;
    let model = model::find(&view, named, |_| true)?;
    no_prompt(request.prompt_name.as_ref())?;
    let prepare = move |model: &TaskModel| {
        check_count("inputs", request.inputs.as_slice().len(), model.rows_max)?;
        let tokens = |text: &String| {
            let encoded = model.tokenizer.encode(text, None);
            let tokens = encoded.map_err(|error| refused("inputs", &error))?;
            Ok(listed(text, &tokens, request.add_special_tokens))
        };
        let texts = request.inputs.as_slice().iter().map(tokens);
        let tokens = texts.collect::<Result<Vec<Vec<Token>>, Invalid>>()?;
        Ok::<_, Invalid>(Json(tokens).into_response())
    };
    Ok(run::prepare(&model, prepare).await?)
}

fn listed(text: &str, tokens: &Tokens, with_special: bool) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let token = |index: usize| {
        let special = tokens.sources[index].is_none();
        let (start, stop) = tokens.offsets[index];
        Token {
            id: tokens.row.ids[index],
            text: match special {
                true => tokens.texts[index].clone(),
                false => characters
                    .get(start..stop)
                    .unwrap_or_default()
                    .iter()
                    .collect(),
            },
            special,
            start: (!special).then_some(start),
            stop: (!special).then_some(stop),
        }
    };
    let is_listed = |index: &usize| with_special || tokens.sources[*index].is_some();
    (0..tokens.len()).filter(is_listed).map(token).collect()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DecodeRequest {
    /// The ids of a text, or a list of such lists.
    ids: OneOrMany<Vec<u32>>,
    #[serde(default = "yes")]
    skip_special_tokens: bool,
}

/// The text that each list of ids stands for.
pub(super) async fn decode(
    State(view): State<ServerView>,
    named: NamedModel,
    body: RequestBody,
) -> Result<Response, TeiRefusal> {
    let request = run::read(body.bytes()?, json::parse::<DecodeRequest>).await?;
    let model = model::find(&view, named, |_| true)?;
    let prepare = move |model: &TaskModel| {
        let count = match &request.ids {
            OneOrMany::One(ids) => ids.len().min(1),
            OneOrMany::Many(texts) => texts.len(),
        };
        check_count("ids", count, model.rows_max)?;
        let decode = |ids: &Vec<u32>| {
            let text = model.tokenizer.decode(ids, !request.skip_special_tokens);
            text.map_err(|error| refused("ids", &error))
        };
        let texts = request.ids.as_slice().iter().map(decode);
        let texts = texts.collect::<Result<Vec<String>, Invalid>>()?;
        Ok::<_, Invalid>(Json(texts).into_response())
    };
    Ok(run::prepare(&model, prepare).await?)
}

fn refused(field: &str, error: &anyhow::Error) -> Invalid {
    let message = format!("`{field}` cannot be tokenized: {}", error.root_cause());
    Invalid::new(InvalidCode::Untokenizable, field, message)
}
