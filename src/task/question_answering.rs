//! Question answering: spans of a context that answer a question. Long contexts are read in windows.

use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::recipe::Task;
use crate::task::inputs::{Field, ItemKind, Object, check_rows, items};
use crate::task::invalid::{Invalid, InvalidCode};
use crate::task::parameters::{ANY_COUNT, Request, RequestFields};
use crate::task::scores::{narrow, top};
use crate::task::tokens::{self, Characters, Windows};
use crate::task::{Answer, OneOrMany, Prepared, TaskModel, check_size, only};
use crate::tokenizer::Tokens;

/// How many answers may be asked for.
pub const TOP_K_MAX: usize = 100;

/// The longest window unless the request asks for another, as in transformers.
const SEQUENCE_LENGTH: usize = 384;

/// The most tokens that neighbouring windows share unless the request asks for others.
const OVERLAP: usize = 128;

/// The most tokens of an answer unless the request asks for others.
const ANSWER_LENGTH: usize = 15;

pub(super) const REQUEST: RequestFields = RequestFields {
    task: Task::QuestionAnswering,
    parameters: &[
        "top_k",
        STRIDE,
        "max_answer_len",
        LENGTH,
        "max_question_len",
        "handle_impossible_answer",
        "align_to_words",
    ],
    at_root: false,
};

const STRIDE: &str = "doc_stride";
const LENGTH: &str = "max_seq_len";

/// The source of the context's tokens: a row is the pair of a question and a context.
const CONTEXT: usize = 1;

/// A part of the context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    pub score: f32,
    /// The first character in the context.
    pub start: usize,
    /// The character after the last one; `start` where the context has no answer.
    pub end: usize,
    pub answer: String,
}

struct Input<'a> {
    question: Field<'a>,
    context: Field<'a>,
}

/// How a request wants its contexts read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The most tokens of a window, question included.
    window: usize,
    /// The tokens that neighbouring windows share, where the request says.
    overlap: Option<usize>,
    /// The tokens after which questions are cut, where the request says.
    question_max: Option<usize>,
}

/// Which answers a request wants.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    count: usize,
    tokens_max: usize,
    whole_words: bool,
    /// That there is no answer may be the answer.
    none: bool,
}

/// A context as it was tokenized.
struct Context {
    text: Characters,
    windows: Vec<Window>,
}

/// The part of a context that is in one row.
struct Window {
    /// The number of tokens in the row.
    length: usize,
    /// The place of the context's first token in the row.
    first: usize,
    /// Of each token of the context.
    offsets: Vec<(usize, usize)>,
    words: Vec<Option<u32>>,
}

/// A span by the tokens of its window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    score: f64,
    first: usize,
    last: usize,
}

pub(super) fn prepare(model: &TaskModel, request: &Request<'_>) -> Result<Prepared, Invalid> {
    let kind = ItemKind {
        name: "an object with `question` and `context`",
        read,
    };
    let inputs = items(request.inputs, model.rows_max, &kind)?;
    let reading = Reading {
        window: window(model, request)?,
        overlap: request.count(STRIDE, 0..=model.tokens_max)?,
        question_max: request.count("max_question_len", ANY_COUNT)?,
    };
    let wanted = Wanted {
        count: request.count("top_k", 1..=TOP_K_MAX)?.unwrap_or(1),
        tokens_max: request
            .count("max_answer_len", ANY_COUNT)?
            .unwrap_or(ANSWER_LENGTH),
        whole_words: request.flag("align_to_words")?.unwrap_or(true),
        none: request.flag("handle_impossible_answer")?.unwrap_or(false),
    };
    let (mut rows, mut contexts) = (Vec::new(), Vec::new());
    for input in inputs.as_slice() {
        let windows = reading.windows(model, input, rows.len())?;
        contexts.push(Context {
            text: Characters::new(input.context.text),
            windows: windows.iter().map(Window::new).collect(),
        });
        rows.extend(windows.into_iter().map(|window| window.row));
    }
    let form = inputs.map(|_| ());
    Ok(Prepared::new(rows, move |outputs| {
        let mut outputs = outputs.iter();
        let answers = contexts.iter().map(|context| -> Result<_> {
            let spans = context.answers(outputs.by_ref().take(context.windows.len()), wanted)?;
            match wanted.count {
                1 => only(spans).map(OneOrMany::One),
                _ => Ok(OneOrMany::Many(spans)),
            }
        });
        form.like(answers.collect::<Result<_>>()?)
            .map(Answer::Spans)
    }))
}

fn read<'a>(value: &'a Value, path: &str) -> Result<Option<Input<'a>>, Invalid> {
    let Value::Object(map) = value else {
        return Ok(None);
    };
    let object = Object::read(map, path, &["question", "context"])?;
    Ok(Some(Input {
        question: object.required_text("question")?,
        context: object.required_text("context")?,
    }))
}

/// The length of windows: what the request asks for, within the longest bucket.
fn window(model: &TaskModel, request: &Request<'_>) -> Result<usize, Invalid> {
    let limit = model.tokens_max;
    match request.count(LENGTH, ANY_COUNT)? {
        Some(length) if length > limit => {
            let why =
                format!("is {length}, and the longest input of this model has {limit} tokens");
            Err(request.refuse(LENGTH, &why))
        }
        length => Ok(length.unwrap_or(SEQUENCE_LENGTH.min(limit))),
    }
}

impl Reading {
    /// The windows of a context, each with its question; one where all of it fits. Refused where
    /// they would be too many beside the rows that the request has `already`.
    fn windows(
        &self,
        model: &TaskModel,
        input: &Input<'_>,
        already: usize,
    ) -> Result<Vec<Tokens>, Invalid> {
        let question = Field {
            path: input.question.path.clone(),
            text: self.question(model, &input.question)?,
        };
        let whole = tokens::encode(model, &question, Some(&input.context))?;
        let path = &input.context.path;
        if whole.len() <= self.window {
            check_rows(path, already + 1, model.rows_max)?;
            return Ok(vec![whole]);
        }
        let beside = whole.len() - tokens::count(&whole, CONTEXT);
        let room = self.window.saturating_sub(beside);
        let usual = OVERLAP.min(self.window / 2);
        let usual = if usual < room { usual } else { room / 2 };
        let overlap = self.overlap.unwrap_or(usual);
        let windows = Windows::new(&whole, CONTEXT, self.window, overlap)
            .ok_or_else(|| self.no_room(&question, room))?;
        check_rows(path, already + windows.count(), model.rows_max)?;
        Ok(windows.cut())
    }

    /// The question, cut where the request asks for it.
    fn question<'a>(&self, model: &TaskModel, question: &Field<'a>) -> Result<&'a str, Invalid> {
        let Some(tokens_max) = self.question_max else {
            return Ok(question.text);
        };
        let tokens = tokens::encode(model, question, None)?;
        let own = tokens.offsets.iter().zip(&tokens.sources);
        let mut own = own.filter(|(_, source)| source.is_some());
        let Some(((_, end), _)) = own.nth(tokens_max - 1) else {
            return Ok(question.text);
        };
        let end = question.text.char_indices().nth(*end).map(|(byte, _)| byte);
        Ok(&question.text[..end.unwrap_or(question.text.len())])
    }

    fn no_room(&self, question: &Field<'_>, room: usize) -> Invalid {
        let path = &question.path;
        let overlap = self.overlap.filter(|_| room > 0);
        let overlap = overlap.map_or(String::new(), |overlap| {
            format!(", and windows are to share {overlap} (`{STRIDE}`)")
        });
        let message = format!(
            "`{path}` leaves room for {room} tokens of the context in a window of {}{overlap}",
            self.window
        );
        Invalid::new(InvalidCode::NoRoom, path, message)
    }
}

impl Window {
    fn new(tokens: &Tokens) -> Self {
        let first = tokens
            .sources
            .iter()
            .position(|source| *source == Some(CONTEXT))
            .unwrap_or(0);
        let part = first..first + tokens::count(tokens, CONTEXT);
        Self {
            length: tokens.len(),
            first,
            offsets: tokens.offsets[part.clone()].to_vec(),
            words: tokens.words[part].to_vec(),
        }
    }

    /// The probability that each token of the context starts the answer, or ends it, and before them
    /// the same for the row's first token, which stands for no answer. The question has no part in it.
    fn probabilities(&self, logits: impl Fn(usize) -> f32) -> Vec<f64> {
        let places = self.first..self.first + self.offsets.len();
        let logits: Vec<f64> = std::iter::once(0)
            .chain(places)
            .map(|place| f64::from(logits(place)))
            .collect();
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponentials = logits.iter().map(|logit| (logit - max).exp());
        let sum: f64 = exponentials.clone().sum();
        exponentials.map(|value| value / sum).collect()
    }

    /// The `count` best spans, and the score of there being none.
    fn candidates(
        &self,
        output: &[f32],
        count: usize,
        tokens_max: usize,
    ) -> Result<(Vec<Candidate>, f64)> {
        check_size(output, self.length, 2)?;
        let starts = self.probabilities(|place| output[2 * place]);
        let ends = self.probabilities(|place| output[2 * place + 1]);
        let none = starts[0] * ends[0];
        let mut candidates = Vec::new();
        for (first, start) in starts[1..].iter().enumerate() {
            for (length, end) in ends[1 + first..].iter().take(tokens_max).enumerate() {
                candidates.push(Candidate {
                    score: start * end,
                    first,
                    last: first + length,
                });
            }
        }
        Ok((top(candidates, count, |candidate| candidate.score), none))
    }

    /// The characters of a span, or of the words that it touches.
    fn characters(&self, candidate: &Candidate, whole_words: bool) -> (usize, usize) {
        let (mut first, mut last) = (candidate.first, candidate.last);
        let word = |token: usize| self.words.get(token).copied().flatten();
        if whole_words && word(first).is_some() && word(last).is_some() {
            while first > 0 && word(first - 1) == word(first) {
                first -= 1;
            }
            while word(last + 1) == word(last) {
                last += 1;
            }
        }
        (self.offsets[first].0, self.offsets[last].1)
    }
}

impl Context {
    /// The best answers, from one output for each window. As in transformers' pipeline, spans of
    /// the same text count as one answer with the sum of their scores.
    fn answers<'a>(
        &self,
        outputs: impl Iterator<Item = &'a Vec<f32>>,
        wanted: Wanted,
    ) -> Result<Vec<Span>> {
        // Aligning to words makes one of several spans.
        let candidates_max = match wanted.whole_words {
            true => wanted.count * 2 + 10,
            false => wanted.count,
        };
        let mut answers: Vec<(f64, (usize, usize))> = Vec::new();
        let mut by_text: HashMap<String, usize> = HashMap::new();
        let mut none = f64::INFINITY;
        for (window, output) in self.windows.iter().zip(outputs) {
            let (candidates, none_here) =
                window.candidates(output, candidates_max, wanted.tokens_max)?;
            none = none.min(none_here);
            for candidate in &candidates {
                let (start, end) = window.characters(candidate, wanted.whole_words);
                let text = self.text.slice(start, end).to_lowercase();
                let place = *by_text.entry(text).or_insert(answers.len());
                match answers.get_mut(place) {
                    Some((score, _)) => *score += candidate.score,
                    None => answers.push((candidate.score, (start, end))),
                }
            }
        }
        if wanted.none {
            answers.push((none, (0, 0)));
        }
        let best = top(answers, wanted.count, |(score, _)| *score);
        let span = |(score, (start, end))| Span {
            score: narrow(score),
            start,
            end,
            answer: self.text.slice(start, end).to_owned(),
        };
        Ok(best.into_iter().map(span).collect())
    }
}
