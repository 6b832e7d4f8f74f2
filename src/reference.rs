//! The rows on which a bundle is verified: real sentences of several lengths, alone and in pairs.
//!
//! Which rows there are depends on the plan's sequence lengths only, so that every bucket has rows
//! that fill it and rows that leave most of it to padding.

use anyhow::Result;

use crate::bucket::{Input, Row};
use crate::failure::Failure;
use crate::family::Head;
use crate::plan::Plan;
use crate::recipe::Task;
use crate::tokenizer::{MaskToken, Tokenizer};

/// Prose about nothing in particular, written for this purpose; longer rows take more of it.
const TEXT: &str = include_str!("reference.txt");

/// A short text, so that every bucket holds one.
const SHORT: &str = "The river rose overnight.";

/// The question, or the first segment, of paired rows.
const QUESTION: &str = "What did the harbour master write down?";

/// Reference rows of a plan, shortest first; none is longer than the largest bucket.
pub fn rows(plan: &Plan, tokenizer: &Tokenizer) -> Result<Vec<Row>> {
    let task = plan.head.task();
    let mut lengths: Vec<usize> = plan.buckets.iter().map(|bucket| bucket.sequence).collect();
    lengths.dedup();
    let pairs_only = task == Task::QuestionAnswering;
    let has_types = plan.inputs.contains(&Input::TokenTypeIds);
    let mut rows = Vec::new();
    if !pairs_only {
        rows.extend(longest_prefix(tokenizer, None, SHORT, plan.longest())?);
    }
    for length in lengths {
        let known = rows.len();
        if !pairs_only {
            rows.extend(longest_prefix(tokenizer, None, TEXT, length)?);
        }
        if has_types {
            rows.extend(longest_prefix(
                tokenizer,
                Some(QUESTION),
                TEXT,
                length * 3 / 4,
            )?);
            rows.extend(longest_prefix(tokenizer, Some(SHORT), TEXT, length)?);
        }
        if rows.len() == known {
            rows.push(cut_row(tokenizer, length)?);
        }
    }
    if let Head::FillMask { .. } = plan.head {
        mask_one_token_each(&mut rows, mask(tokenizer)?.id);
    }
    rows.sort_by_key(|row| row.ids.len());
    rows.dedup();
    Ok(rows)
}

/// The mask token, without which a model cannot fill masks.
pub fn mask(tokenizer: &Tokenizer) -> Result<&MaskToken> {
    tokenizer.mask().ok_or_else(|| {
        Failure::usage("the model's tokenizer has no mask token")
            .why(
                "fill-mask needs one, and neither does `tokenizer_config.json` name a token of the \
                 vocabulary as `mask_token`, nor is just one of `[MASK]` and `<mask>` a special token",
            )
            .help("give the tokenizer that the model was trained with, or add `mask_token`")
            .into()
    })
}

/// A row for a bucket in which no whole sentence fits: cut where the bucket ends.
fn cut_row(tokenizer: &Tokenizer, tokens: usize) -> Result<Row> {
    let mut row = tokenizer.encode(SHORT, Some(TEXT))?.row;
    row.ids.truncate(tokens);
    row.type_ids.truncate(tokens);
    Ok(row)
}

/// The row of as many words of `text` as fit into `tokens_max` tokens; `None` when not even one does.
fn longest_prefix(
    tokenizer: &Tokenizer,
    first: Option<&str>,
    text: &str,
    tokens_max: usize,
) -> Result<Option<Row>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let row = |count: usize| -> Result<Row> {
        let prefix = words[..count].join(" ");
        let tokens = match first {
            None => tokenizer.encode(&prefix, None)?,
            Some(first) => tokenizer.encode(first, Some(&prefix))?,
        };
        Ok(tokens.row)
    };
    let (mut fits, mut exceeds) = (0, words.len() + 1);
    while exceeds - fits > 1 {
        let middle = fits.midpoint(exceeds);
        match row(middle)?.ids.len() <= tokens_max {
            true => fits = middle,
            false => exceeds = middle,
        }
    }
    match fits {
        0 => Ok(None),
        count => row(count).map(Some),
    }
}

/// Replaces a token in the middle of each row and asks for it.
fn mask_one_token_each(rows: &mut [Row], mask: i64) {
    for row in rows {
        let position = row.ids.len() / 2;
        if let Some(id) = row.ids.get_mut(position) {
            *id = mask;
        }
        row.position = Some(position);
    }
}
