//! Token classification: a label for each token, or for each group of tokens with the same one.

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use crate::recipe::Task;
use crate::task::inputs::{Field, check_rows, items, strings};
use crate::task::invalid::Invalid;
use crate::task::parameters::{Request, RequestFields};
use crate::task::scores::{argmax, narrow, softmax};
use crate::task::tokens::{self, Windows};
use crate::task::{Answer, Prepared, TaskModel, check_size};
use crate::tokenizer::{Tokenizer, Tokens};

pub(super) const REQUEST: RequestFields = RequestFields {
    task: Task::TokenClassification,
    parameters: &[
        "aggregation_strategy",
        "ignore_labels",
        STRIDE,
        "truncate",
        "truncation",
        "truncation_direction",
    ],
    at_root: false,
};

const STRIDE: &str = "stride";

/// The token that stands for words which the vocabulary does not cover.
const UNKNOWN_TOKEN: &str = "[UNK]";

/// The values of `aggregation_strategy`.
const STRATEGIES: [(&str, Strategy); 5] = [
    ("none", Strategy::None),
    ("simple", Strategy::Simple),
    ("first", Strategy::First),
    ("average", Strategy::Average),
    ("max", Strategy::Max),
];

/// How tokens become entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// Each token is one.
    None,
    /// Neighbours with the same label are one.
    Simple,
    /// As `Simple`, of words that have the label of their first token.
    First,
    /// As `Simple`, of words that have the label with the highest mean score.
    Average,
    /// As `Simple`, of words that have the label of their surest token.
    Max,
}

/// A token or a group of tokens, with its label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entity {
    /// The label of a token; absent in groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The label of a group, without `B-` and `I-`; absent in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_group: Option<String>,
    pub score: f32,
    /// The place of a token in its row, counted from 0; absent in groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    pub word: String,
    /// The first character in the text.
    pub start: usize,
    /// The character after the last one.
    pub end: usize,
}

/// How a request wants its texts labelled.
struct Wanted {
    strategy: Strategy,
    ignored: Vec<String>,
}

/// A text as the rows of its windows; one where it fits the longest bucket.
struct Text {
    windows: Vec<Vec<Piece>>,
}

/// A token of a text.
#[derive(Debug, Clone)]
struct Piece {
    /// Its place in its row; `None` for special tokens.
    index: Option<usize>,
    text: String,
    /// It goes on with the word of the token before it.
    continues: bool,
    start: usize,
    end: usize,
}

/// Consecutive tokens that have a label.
#[derive(Debug, Clone)]
struct Labelled<'a> {
    label: &'a str,
    score: f32,
    index: usize,
    word: String,
    start: usize,
    end: usize,
}

pub(super) fn prepare(model: &TaskModel, request: &Request<'_>) -> Result<Prepared, Invalid> {
    let inputs = items(request.inputs, model.rows_max, &strings())?;
    let strategy = request.choice("aggregation_strategy", &STRATEGIES)?;
    let ignored = request.strings("ignore_labels")?.unwrap_or(vec!["O"]);
    let wanted = Wanted {
        strategy: strategy.unwrap_or(Strategy::Simple),
        ignored: ignored.into_iter().map(str::to_owned).collect(),
    };
    let stride = request.count(STRIDE, 0..=model.tokens_max)?;
    if stride.is_some() && wanted.strategy == Strategy::None {
        return Err(request.refuse(STRIDE, "needs an `aggregation_strategy` other than `none`"));
    }
    let unknown = model.tokenizer.token_id(UNKNOWN_TOKEN);
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    for input in inputs.as_slice() {
        let windows = match stride {
            Some(stride) => windows(model, request, input, stride, rows.len())?,
            None => vec![tokens::fitting(model, input, None, request.truncation()?)?],
        };
        let pieces = windows
            .iter()
            .map(|window| pieces(window, input.text, unknown));
        texts.push(Text {
            windows: pieces.collect(),
        });
        rows.extend(windows.into_iter().map(|window| window.row));
    }
    let form = inputs.map(|_| ());
    let (model, tokenizer) = (model.clone(), Arc::clone(&model.tokenizer));
    Ok(Prepared::new(rows, move |outputs| {
        let mut outputs = outputs.iter();
        let texts = texts.iter().map(|text| {
            let outputs = outputs.by_ref().take(text.windows.len());
            text.entities(outputs, model.labels(), &wanted, &tokenizer)
        });
        form.like(texts.collect::<Result<_>>()?)
            .map(Answer::Entities)
    }))
}

/// The windows of a text of any length, neighbours sharing `stride` tokens. Refused where they would
/// be too many beside the rows that the request has `already`.
fn windows(
    model: &TaskModel,
    request: &Request<'_>,
    input: &Field<'_>,
    stride: usize,
    already: usize,
) -> Result<Vec<Tokens>, Invalid> {
    let whole = tokens::encode(model, input, None)?;
    if whole.len() <= model.tokens_max {
        check_rows(&input.path, already + 1, model.rows_max)?;
        return Ok(vec![whole]);
    }
    let text = tokens::count(&whole, 0);
    let windows = Windows::new(&whole, 0, model.tokens_max, stride).ok_or_else(|| {
        let room = model.tokens_max.saturating_sub(whole.len() - text);
        let why = format!("is {stride}, but a window has room for only {room} tokens of the text");
        request.refuse(STRIDE, &why)
    })?;
    check_rows(&input.path, already + windows.count(), model.rows_max)?;
    Ok(windows.cut())
}

/// What there is to know of each token of a row.
fn pieces(tokens: &Tokens, text: &str, unknown: Option<i64>) -> Vec<Piece> {
    let characters = tokens::Characters::new(text);
    let piece = |index: usize| {
        let (start, end) = tokens.offsets[index];
        let is_unknown = Some(tokens.row.ids[index]) == unknown;
        let previous = index.checked_sub(1);
        let same_word = |previous: usize| {
            tokens.sources[previous].is_some()
                && tokens.words[index].is_some()
                && tokens.words[previous] == tokens.words[index]
        };
        Piece {
            index: tokens.sources[index].map(|_| index),
            text: match is_unknown {
                true => characters.slice(start, end).to_owned(),
                false => tokens.texts[index].clone(),
            },
            continues: previous.is_some_and(same_word) && !is_unknown,
            start,
            end,
        }
    };
    (0..tokens.len()).map(piece).collect()
}

impl Text {
    /// The entities of all windows, from one output for each.
    fn entities<'a>(
        &self,
        outputs: impl Iterator<Item = &'a Vec<f32>>,
        labels: &[String],
        wanted: &Wanted,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Entity>> {
        let mut entities = Vec::new();
        for (pieces, output) in self.windows.iter().zip(outputs) {
            check_size(output, pieces.len(), labels.len())?;
            let scores = output.chunks_exact(labels.len()).map(softmax);
            let scored: Vec<(&Piece, Vec<f32>)> = pieces
                .iter()
                .zip(scores)
                .filter(|(piece, _)| piece.index.is_some())
                .collect();
            let found = match wanted.strategy {
                Strategy::None => tokens_as_entities(&scored, labels),
                Strategy::Simple => groups(&each_token(&scored, labels), tokenizer)?,
                strategy => groups(&each_word(&scored, labels, strategy, tokenizer)?, tokenizer)?,
            };
            entities.extend(found.into_iter().filter(|entity| !wanted.ignores(entity)));
        }
        match self.windows.len() {
            1 => Ok(entities),
            _ => Ok(without_overlaps(entities)),
        }
    }
}

impl Wanted {
    fn ignores(&self, entity: &Entity) -> bool {
        let label = entity.entity.as_ref().or(entity.entity_group.as_ref());
        label.is_some_and(|label| self.ignored.contains(label))
    }
}

fn tokens_as_entities(scored: &[(&Piece, Vec<f32>)], labels: &[String]) -> Vec<Entity> {
    let entity = |token: Labelled<'_>| Entity {
        entity: Some(token.label.to_owned()),
        entity_group: None,
        score: token.score,
        index: Some(token.index),
        word: token.word,
        start: token.start,
        end: token.end,
    };
    each_token(scored, labels).into_iter().map(entity).collect()
}

fn each_token<'a>(scored: &[(&Piece, Vec<f32>)], labels: &'a [String]) -> Vec<Labelled<'a>> {
    let labelled = |(piece, scores): &(&Piece, Vec<f32>)| {
        let best = argmax(scores);
        Labelled {
            label: &labels[best],
            score: scores[best],
            index: piece.index.unwrap_or(0),
            word: piece.text.clone(),
            start: piece.start,
            end: piece.end,
        }
    };
    scored.iter().map(labelled).collect()
}

/// Words, each with one label for all of its tokens.
fn each_word<'a>(
    scored: &[(&Piece, Vec<f32>)],
    labels: &'a [String],
    strategy: Strategy,
    tokenizer: &Tokenizer,
) -> Result<Vec<Labelled<'a>>> {
    let words = scored.chunk_by(|_, (next, _)| next.continues);
    let labelled = |word: &[(&Piece, Vec<f32>)]| -> Result<Labelled<'a>> {
        let scores = word_scores(word, strategy);
        let best = argmax(&scores);
        let (first, last) = (word[0].0, word[word.len() - 1].0);
        let texts = word.iter().map(|(piece, _)| piece.text.clone()).collect();
        Ok(Labelled {
            label: &labels[best],
            score: scores[best],
            index: first.index.unwrap_or(0),
            word: tokenizer.join(texts)?,
            start: first.start,
            end: last.end,
        })
    };
    words.map(labelled).collect()
}

/// The scores of the labels for a word of at least one token.
fn word_scores(word: &[(&Piece, Vec<f32>)], strategy: Strategy) -> Vec<f32> {
    let best = |scores: &[f32]| scores[argmax(scores)];
    match strategy {
        Strategy::Average => (0..word[0].1.len())
            .map(|label| mean(word.iter().map(|(_, scores)| scores[label])))
            .collect(),
        Strategy::Max => {
            let surest: Vec<f32> = word.iter().map(|(_, scores)| best(scores)).collect();
            word[argmax(&surest)].1.clone()
        }
        Strategy::None | Strategy::Simple | Strategy::First => word[0].1.clone(),
    }
}

/// Neighbours with the same label as one entity; one that begins an entity starts anew.
fn groups(labelled: &[Labelled<'_>], tokenizer: &Tokenizer) -> Result<Vec<Entity>> {
    let joins = |last: &Labelled<'_>, next: &Labelled<'_>| {
        let (place, tag) = place_and_tag(next.label);
        place != Place::Begin && tag == place_and_tag(last.label).1
    };
    let entity = |group: &[Labelled<'_>]| {
        let first = &group[0];
        let label = first
            .label
            .split_once('-')
            .map_or(first.label, |(_, tag)| tag);
        Ok(Entity {
            entity: None,
            entity_group: Some(label.to_owned()),
            score: mean(group.iter().map(|part| part.score)),
            index: None,
            word: tokenizer.join(group.iter().map(|part| part.word.clone()).collect())?,
            start: first.start,
            end: group[group.len() - 1].end,
        })
    };
    labelled.chunk_by(joins).map(entity).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    Inside,
}

/// What `B-` and `I-` before a label mean; labels without are inside.
fn place_and_tag(label: &str) -> (Place, &str) {
    match label.strip_prefix("B-") {
        Some(tag) => (Place::Begin, tag),
        None => (Place::Inside, label.strip_prefix("I-").unwrap_or(label)),
    }
}

/// Of entities that overlap, as those of neighbouring windows do, the longer one, else the surer one.
fn without_overlaps(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut kept: Vec<Entity> = Vec::new();
    for entity in entities {
        let length = |entity: &Entity| entity.end.saturating_sub(entity.start);
        match kept.last_mut() {
            Some(last) if entity.start < last.end => {
                let is_surer = length(&entity) == length(last) && entity.score > last.score;
                if length(&entity) > length(last) || is_surer {
                    *last = entity;
                }
            }
            _ => kept.push(entity),
        }
    }
    kept
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = values.len() as f64;
    narrow(values.map(f64::from).sum::<f64>() / count)
}
