//! Fill-mask: the tokens that a mask token most probably stands for. Each mask token is one row.

use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;

use crate::bucket::Row;
use crate::recipe::Task;
use crate::task::inputs::{Field, check_count, check_rows, items, strings};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::parameters::{Request, RequestFields, shown};
use crate::task::scores::{softmax, top};
use crate::task::{Answer, OneOrMany, Prepared, TaskModel, bug, tokens};
use crate::tokenizer::{Tokenizer, Tokens};

/// How many fills may be asked for, and how many targets given.
pub const TOP_K_MAX: usize = 100;

const TOP_K: usize = 5;

pub(super) const REQUEST: RequestFields = RequestFields {
    task: Task::FillMask,
    parameters: &[
        "top_k",
        TARGETS,
        "truncate",
        "truncation",
        "truncation_direction",
    ],
    at_root: false,
};

const TARGETS: &str = "targets";

/// A token in the place of a mask token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fill {
    pub score: f32,
    /// The id of the token.
    pub token: usize,
    pub token_str: String,
    /// The text with the token in its place, as the tokenizer writes it; special tokens are part of
    /// it where the text has several mask tokens.
    pub sequence: String,
}

/// A text and its mask tokens.
struct Masked {
    ids: Vec<i64>,
    positions: Vec<usize>,
}

/// How many fills are wanted, and from which tokens.
struct Wanted {
    count: usize,
    /// Ids; all tokens where it is `None`.
    targets: Option<Vec<usize>>,
}

pub(super) fn prepare(model: &TaskModel, request: &Request<'_>) -> Result<Prepared, Invalid> {
    let texts = items(request.inputs, model.rows_max, &strings())?;
    let wanted = Wanted {
        count: request.count("top_k", 1..=TOP_K_MAX)?.unwrap_or(TOP_K),
        targets: targets(model, request)?,
    };
    let truncation = request.truncation()?;
    let mask = model.mask()?;
    let (mut rows, mut masked) = (Vec::new(), Vec::new());
    for text in texts.as_slice() {
        let tokens = tokens::fitting(model, text, None, truncation)?;
        let positions = positions(&tokens, mask.id);
        if positions.is_empty() {
            let message = format!("`{}` has no `{}` to fill", text.path, mask.text);
            return Err(Invalid::new(InvalidCode::NoMask, &text.path, message));
        }
        check_rows(&text.path, rows.len() + positions.len(), model.rows_max)?;
        rows.extend(positions.iter().map(|position| Row {
            position: Some(*position),
            ..tokens.row.clone()
        }));
        masked.push(Masked {
            ids: tokens.row.ids,
            positions,
        });
    }
    let form = texts.map(|_| ());
    let tokenizer = Arc::clone(&model.tokenizer);
    Ok(Prepared::new(rows, move |outputs| {
        let mut outputs = outputs.iter();
        let fills = masked.iter().map(|text| -> Result<_> {
            let of_mask = |(place, output): (usize, &Vec<f32>)| {
                text.fills(place, output, &wanted, &tokenizer)
            };
            let masks = outputs.by_ref().take(text.positions.len()).enumerate();
            let mut masks = masks.map(of_mask).collect::<Result<Vec<_>>>()?;
            Ok(match masks.len() {
                1 => OneOrMany::One(masks.remove(0)),
                _ => OneOrMany::Many(masks),
            })
        });
        form.like(fills.collect::<Result<_>>()?).map(Answer::Fills)
    }))
}

/// Where the mask tokens are; only in the text itself, not among what the tokenizer adds.
fn positions(tokens: &Tokens, mask: i64) -> Vec<usize> {
    let ids = tokens.row.ids.iter().zip(&tokens.sources).enumerate();
    ids.filter(|(_, (id, source))| source.is_some() && **id == mask)
        .map(|(position, _)| position)
        .collect()
}

/// The ids of `targets`; each has to be one token.
fn targets(model: &TaskModel, request: &Request<'_>) -> Result<Option<Vec<usize>>, Invalid> {
    let Some(targets) = request.strings(TARGETS)? else {
        return Ok(None);
    };
    let path = request.path(TARGETS);
    check_count(&path, targets.len(), TOP_K_MAX)?;
    let mut ids = Vec::new();
    for (index, target) in targets.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let id = target_id(model, Field { path, text: target })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(Some(ids))
}

/// The id of the token that is, or that alone stands for, a target.
fn target_id(model: &TaskModel, target: Field<'_>) -> Result<usize, Invalid> {
    let tokenizer = &model.tokenizer;
    let id = match tokenizer.token_id(target.text) {
        Some(id) => id,
        None => {
            let tokens = tokens::encode(model, &target, None)?;
            let own: Vec<usize> = (0..tokens.len())
                .filter(|index| tokens.sources[*index].is_some())
                .collect();
            let [only] = own[..] else {
                let why = format!(
                    "`{}`, `{}`, is {} tokens for this model and not one",
                    target.path,
                    shown(target.text),
                    own.len()
                );
                return Err(Invalid::new(InvalidCode::BadParameter, &target.path, why));
            };
            tokens.row.ids[only]
        }
    };
    usize::try_from(id).map_err(|_| {
        let why = format!("`{}` is not in the vocabulary", target.path);
        Invalid::new(InvalidCode::BadParameter, &target.path, why)
    })
}

impl Masked {
    /// The fills of the mask token number `place`, best first, from the logits at its position.
    fn fills(
        &self,
        place: usize,
        logits: &[f32],
        wanted: &Wanted,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Fill>> {
        let scores = softmax(logits);
        let scored: Vec<(usize, f32)> = match &wanted.targets {
            None => scores.into_iter().enumerate().collect(),
            Some(targets) => {
                let score = |id: &usize| scores.get(*id).map(|score| (*id, *score));
                let scored = targets.iter().map(score).collect::<Option<_>>();
                scored.ok_or_else(|| {
                    bug(format!(
                        "{} logits are not one for each token",
                        scores.len()
                    ))
                })?
            }
        };
        let best = top(scored, wanted.count, |(_, score)| *score);
        let fill = |(id, score)| {
            Ok(Fill {
                score,
                token: id,
                token_str: written(tokenizer, &[id])?,
                sequence: self.sequence(place, id, tokenizer)?,
            })
        };
        best.into_iter().map(fill).collect()
    }

    /// The text with `id` in the place of a mask token.
    fn sequence(&self, place: usize, id: usize, tokenizer: &Tokenizer) -> Result<String> {
        let mut ids = self
            .ids
            .iter()
            .map(|id| usize::try_from(*id))
            .collect::<Result<Vec<_>, _>>()?;
        ids[self.positions[place]] = id;
        if self.positions.len() > 1 {
            return written(tokenizer, &ids);
        }
        let ids = ids
            .into_iter()
            .map(u32::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        tokenizer.decode(&ids, false)
    }
}

/// The text of tokens, special ones included. A model may have more ids than its tokenizer: those
/// have no text.
fn written(tokenizer: &Tokenizer, ids: &[usize]) -> Result<String> {
    tokenizer.join(ids.iter().filter_map(|id| tokenizer.token(*id)).collect())
}
