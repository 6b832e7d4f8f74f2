//! Texts as tokens that fit into the longest bucket: refused when they do not, cut only where the
//! request asks for it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::bucket::Row;
use crate::task::TaskModel;
use crate::task::inputs::Field;
use crate::task::invalid::{Invalid, InvalidCode};
use crate::tokenizer::Tokens;

/// A text, or the ids of its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of token ids")]
pub enum Text {
    Text(String),
    /// With or without the special tokens of the model.
    Ids(Vec<u32>),
}

/// What becomes of a text that is longer than the longest bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The request is refused; unless it asks for a cut with these words, where it can.
    Refuse { unless: Option<&'static str> },
    /// Tokens are cut off at that side.
    Cut(Side),
}

/// A side of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The beginning.
    Left,
    /// The end.
    Right,
}

/// The tokens of a text, or of a pair of texts, at most as many as the longest bucket has.
pub(super) fn fitting(
    model: &TaskModel,
    text: &Field<'_>,
    pair: Option<&Field<'_>>,
    truncation: Truncation,
) -> Result<Tokens, Invalid> {
    let tokens = encode(model, text, pair)?;
    fit(model, tokens, truncation).map_err(|length| {
        let what = match pair {
            None => format!("`{}` has {length} tokens", text.path),
            Some(pair) => format!(
                "`{}` and `{}` have {length} tokens together",
                text.path, pair.path
            ),
        };
        too_long(model, &text.path, &what, truncation)
    })
}

/// The row of a text, as [`fitting`] gives it, where nobody asks what its tokens are.
pub(super) fn fitting_row(
    model: &TaskModel,
    text: &Field<'_>,
    truncation: Truncation,
) -> Result<Row, Invalid> {
    let encoded = model.tokenizer.encode_row(text.text);
    match encoded.map_err(|error| untokenizable(&text.path, &error))? {
        (_, 0) => Err(empty(&text.path)),
        (row, _) if row.ids.len() <= model.tokens_max => Ok(row),
        // It has to be cut, or refused with its length.
        _ => Ok(fitting(model, text, None, truncation)?.row),
    }
}

/// The tokens that ids stand for, at most as many as the longest bucket has.
pub(super) fn fitting_ids(
    model: &TaskModel,
    ids: &[u32],
    path: &str,
    truncation: Truncation,
) -> Result<Tokens, Invalid> {
    let encoded = model.tokenizer.encode_ids(ids);
    let tokens = encoded.map_err(|error| untokenizable(path, &error))?;
    let tokens = tokens.ok_or_else(|| {
        let message = format!("`{path}` has an id that is not in the model's vocabulary");
        Invalid::new(InvalidCode::Untokenizable, path, message)
    })?;
    if count(&tokens, 0) == 0 {
        return Err(empty(path));
    }
    fit(model, tokens, truncation).map_err(|length| {
        let what = format!("`{path}` has {length} tokens");
        too_long(model, path, &what, truncation)
    })
}

/// `tokens`, cut where that is allowed; the error is their number.
fn fit(model: &TaskModel, tokens: Tokens, truncation: Truncation) -> Result<Tokens, usize> {
    let cut = match truncation {
        _ if tokens.len() <= model.tokens_max => return Ok(tokens),
        Truncation::Refuse { .. } => None,
        Truncation::Cut(side) => truncate(&tokens, model.tokens_max, side),
    };
    cut.ok_or(tokens.len())
}

fn too_long(model: &TaskModel, path: &str, what: &str, truncation: Truncation) -> Invalid {
    let limit = model.tokens_max;
    let mut message =
        format!("{what}, and the longest input of this model has {limit}; shorten it");
    if let Truncation::Refuse {
        unless: Some(asked),
    } = truncation
    {
        message.push_str(&format!(", or let it be cut with {asked}"));
    }
    Invalid::new(InvalidCode::TooLong, path, message)
}

/// The tokens of a text, or of a pair of texts; each has at least one that is not special.
pub(super) fn encode(
    model: &TaskModel,
    text: &Field<'_>,
    pair: Option<&Field<'_>>,
) -> Result<Tokens, Invalid> {
    let encoded = model
        .tokenizer
        .encode(text.text, pair.map(|pair| pair.text));
    let tokens = encoded.map_err(|error| untokenizable(&text.path, &error))?;
    for (source, field) in std::iter::once(text).chain(pair).enumerate() {
        if count(&tokens, source) == 0 {
            return Err(empty(&field.path));
        }
    }
    Ok(tokens)
}

pub(super) fn empty(path: &str) -> Invalid {
    let message = format!("`{path}` is empty: it has no tokens");
    Invalid::new(InvalidCode::Empty, path, message)
}

pub(super) fn untokenizable(path: &str, error: &anyhow::Error) -> Invalid {
    let message = format!("`{path}` cannot be tokenized: {}", error.root_cause());
    Invalid::new(InvalidCode::Untokenizable, path, message)
}

/// The number of tokens that come from the text `source`.
pub(super) fn count(tokens: &Tokens, source: usize) -> usize {
    let from_source = |of: &&Option<usize>| **of == Some(source);
    tokens.sources.iter().filter(from_source).count()
}

/// At most `tokens_max` of `tokens`, special ones kept; of a pair, the longer text gives first.
/// `None` when that leaves a text without tokens.
fn truncate(tokens: &Tokens, tokens_max: usize, side: Side) -> Option<Tokens> {
    let counts = [count(tokens, 0), count(tokens, 1)];
    let special = tokens.len() - counts[0] - counts[1];
    let kept = shares(counts, tokens_max.checked_sub(special)?);
    if kept[0] == 0 || (counts[1] > 0 && kept[1] == 0) {
        return None;
    }
    let mut seen = [0, 0];
    let is_kept = |index: &usize| -> bool {
        let Some(source) = tokens.sources[*index].filter(|source| *source < 2) else {
            return true;
        };
        let place = seen[source];
        seen[source] += 1;
        match side {
            Side::Right => place < kept[source],
            Side::Left => place >= counts[source] - kept[source],
        }
    };
    let indices: Vec<usize> = (0..tokens.len()).filter(is_kept).collect();
    Some(select(tokens, &indices))
}

/// How many of each text's tokens fit into `room`, as transformers' `longest_first` shares it.
fn shares(counts: [usize; 2], room: usize) -> [usize; 2] {
    let shorter = counts[0].min(counts[1]).min(room / 2);
    match counts[0] <= counts[1] {
        true => [shorter, counts[1].min(room - shorter)],
        false => [counts[0].min(room - shorter), shorter],
    }
}

/// Consecutive parts of one of the texts in a row, each with all other tokens around it, neighbours
/// sharing tokens of the text. Nothing is copied before it is asked for.
pub(super) struct Windows<'a> {
    tokens: &'a Tokens,
    /// The place of the text's first token in the row, and the place after its last one.
    first: usize,
    end: usize,
    /// How many tokens of the text are in a window, and how many of them are new.
    room: usize,
    step: usize,
}

impl<'a> Windows<'a> {
    /// Windows of the text `source` that are at most `tokens_max` long and overlap by `overlap`.
    /// `None` when there is no room for more tokens of the text than those.
    pub(super) fn new(
        tokens: &'a Tokens,
        source: usize,
        tokens_max: usize,
        overlap: usize,
    ) -> Option<Self> {
        let is_text = |of: &Option<usize>| *of == Some(source);
        let first = tokens.sources.iter().position(is_text)?;
        let end = tokens.sources.iter().rposition(is_text)? + 1;
        let room = tokens_max.checked_sub(first + tokens.len() - end)?;
        let step = room.checked_sub(overlap).filter(|step| *step > 0)?;
        Some(Self {
            tokens,
            first,
            end,
            room,
            step,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let beyond = (self.end - self.first).saturating_sub(self.room);
        1 + beyond.div_ceil(self.step)
    }

    pub(super) fn cut(&self) -> Vec<Tokens> {
        let window = |index| {
            let start = self.first + index * self.step;
            let part = start..self.end.min(start + self.room);
            let rest = self.end..self.tokens.len();
            let indices: Vec<usize> = (0..self.first).chain(part).chain(rest).collect();
            select(self.tokens, &indices)
        };
        (0..self.count()).map(window).collect()
    }
}

/// The tokens at `indices`.
fn select(tokens: &Tokens, indices: &[usize]) -> Tokens {
    fn pick<T: Clone>(values: &[T], indices: &[usize]) -> Vec<T> {
        indices.iter().map(|index| values[*index].clone()).collect()
    }
    Tokens {
        row: Row {
            ids: pick(&tokens.row.ids, indices),
            type_ids: pick(&tokens.row.type_ids, indices),
            position: None,
        },
        texts: pick(&tokens.texts, indices),
        offsets: pick(&tokens.offsets, indices),
        sources: pick(&tokens.sources, indices),
        words: pick(&tokens.words, indices),
    }
}

/// A text of which parts are taken by characters.
#[derive(Debug)]
pub(super) struct Characters {
    text: String,
    /// The first byte of each character, and the end.
    bytes: Vec<usize>,
}

impl Characters {
    pub(super) fn new(text: &str) -> Self {
        let starts = text.char_indices().map(|(byte, _)| byte);
        Self {
            bytes: starts.chain([text.len()]).collect(),
            text: text.to_owned(),
        }
    }

    /// The characters from `start` to before `end`, as far as there are any.
    pub(super) fn slice(&self, start: usize, end: usize) -> &str {
        let last = self.bytes.len() - 1;
        let (start, end) = (self.bytes[start.min(last)], self.bytes[end.min(last)]);
        self.text.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Special tokens around texts of `counts` tokens; ids are counted from 0.
    fn tokens(counts: &[usize]) -> Tokens {
        let mut sources = vec![None];
        for (source, count) in counts.iter().enumerate() {
            sources.extend(vec![Some(source); *count]);
            sources.push(None);
        }
        let length = sources.len();
        Tokens {
            row: Row {
                ids: (0..).take(length).collect(),
                type_ids: vec![0; length],
                position: None,
            },
            texts: vec![String::new(); length],
            offsets: vec![(0, 0); length],
            sources,
            words: vec![None; length],
        }
    }

    fn cut(counts: &[usize], tokens_max: usize, side: Side) -> Option<Vec<i64>> {
        truncate(&tokens(counts), tokens_max, side).map(|tokens| tokens.row.ids)
    }

    #[test]
    fn a_text_is_cut_at_the_side_asked_for_and_keeps_special_tokens() {
        assert_eq!(cut(&[4], 4, Side::Right).unwrap(), [0, 1, 2, 5]);
        assert_eq!(cut(&[4], 4, Side::Left).unwrap(), [0, 3, 4, 5]);
        assert_eq!(cut(&[4], 2, Side::Right), None);
        assert_eq!(cut(&[4], 1, Side::Right), None);
    }

    #[test]
    fn the_longer_text_of_a_pair_gives_first() {
        assert_eq!(
            cut(&[2, 6], 8, Side::Right).unwrap(),
            [0, 1, 2, 3, 4, 5, 6, 10]
        );
        assert_eq!(
            cut(&[6, 2], 8, Side::Left).unwrap(),
            [0, 4, 5, 6, 7, 8, 9, 10]
        );
        assert_eq!(shares([9, 9], 5), [2, 3]);
        assert_eq!(shares([9, 8], 5), [3, 2]);
        assert_eq!(cut(&[6, 2], 4, Side::Right), None);
    }

    fn windows(
        counts: &[usize],
        source: usize,
        tokens_max: usize,
        overlap: usize,
    ) -> Vec<Vec<i64>> {
        let tokens = tokens(counts);
        let windows = Windows::new(&tokens, source, tokens_max, overlap);
        let cut = windows.map(|windows| windows.cut()).unwrap_or_default();
        cut.into_iter().map(|window| window.row.ids).collect()
    }

    #[test]
    fn windows_overlap_and_end_with_the_text() {
        let of_text = windows(&[6], 0, 6, 2);
        assert_eq!(of_text, [[0, 1, 2, 3, 4, 7], [0, 3, 4, 5, 6, 7]]);
        let of_pair = windows(&[1, 5], 1, 7, 2);
        assert_eq!(of_pair[0], [0, 1, 2, 3, 4, 5, 8]);
        assert_eq!(of_pair[2], [0, 1, 2, 5, 6, 7, 8]);
        assert_eq!(of_pair.len(), 3);
        assert_eq!(windows(&[3], 0, 9, 2), [[0, 1, 2, 3, 4]]);
        assert_eq!(windows(&[5], 0, 4, 0)[2], [0, 5, 6]);
    }

    #[test]
    fn characters_are_not_bytes() {
        let characters = Characters::new("a😀東");
        assert_eq!(characters.slice(1, 3), "😀東");
        assert_eq!(characters.slice(2, 9), "東");
        assert_eq!(characters.slice(2, 1), "");
        assert_eq!(Characters::new("").slice(0, 1), "");
    }

    #[test]
    fn windows_without_room_are_none() {
        assert!(windows(&[6], 0, 4, 2).is_empty());
        assert!(windows(&[6], 0, 1, 0).is_empty());
        assert!(windows(&[], 0, 4, 0).is_empty());
    }
}
