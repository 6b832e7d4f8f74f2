//! The shapes of what operators return, from those of what they take.
//!
//! Each function gives `None` for what it does not know; nothing is guessed. Operators that compute
//! are in [`super::cost`], with what they cost.

use crate::coverage::estimate::fact::{ArgumentFacts, Fact, broadcast, dimension, elements};

/// The result of an operator that only moves or describes data; the outer `None` for all others.
pub(super) fn moved(name: &str, arguments: &ArgumentFacts) -> Option<Option<Fact>> {
    Some(match name {
        "to" | "contiguous" | "clone" | "detach" | "alias" | "dropout" | "feature_dropout"
        | "zeros_like" | "ones_like" | "full_like" | "empty_like" | "rand_like" | "copy"
        | "zero" | "fill" | "type_as" | "flip" | "roll" | "tril" | "triu" => same(arguments),
        "view" | "reshape" | "_unsafe_view" => view(arguments),
        "transpose" | "swapaxes" => transpose(arguments, 1, 2),
        "t" => transpose_last(arguments),
        "permute" => permute(arguments),
        "unsqueeze" => unsqueeze(arguments),
        "squeeze" => squeeze(arguments),
        "flatten" => flatten(arguments),
        "expand" | "broadcast_to" => expand(arguments),
        "expand_as" | "view_as" | "reshape_as" => arguments.shape(1).map(Fact::Tensor),
        "select" => reduced_by(arguments, 1),
        "slice" | "narrow" => slice(name, arguments),
        "cat" | "concat" | "stack" => join(name, arguments),
        "split" | "split_with_sizes" | "chunk" | "unbind" => parts(name, arguments),
        "repeat" => repeat(arguments),
        "embedding" => embedding(arguments),
        "gather" => arguments.shape(2).map(Fact::Tensor),
        "index_select" => index_select(arguments),
        "constant_pad_nd" | "pad" => pad(arguments),
        "zeros" | "ones" | "empty" | "rand" | "randn" | "full" => made(arguments, 0),
        "new_zeros" | "new_ones" | "new_empty" | "new_full" => made(arguments, 1),
        "arange" => arange(arguments),
        "size" => size(arguments),
        "dim" | "len" | "numel" => described(name, arguments),
        "Int" | "Float" | "Bool" | "ScalarImplicit" | "NumToTensor" => number(arguments),
        _ => return None,
    })
}

fn same(arguments: &ArgumentFacts) -> Option<Fact> {
    match arguments.get(0)? {
        Fact::Unknown => None,
        fact => Some(fact.clone()),
    }
}

fn number(arguments: &ArgumentFacts) -> Option<Fact> {
    match arguments.get(0)? {
        Fact::Int(number) => Some(Fact::Int(*number)),
        _ => Some(Fact::Other),
    }
    .filter(|fact| *fact != Fact::Other)
}

fn sizes(numbers: &[i64]) -> Option<Vec<usize>> {
    let size = |number: &i64| usize::try_from(*number).ok();
    numbers.iter().map(size).collect()
}

/// One size may be -1: what is left.
fn view(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let asked = arguments.ints(1, "shape")?;
    let known = asked.iter().filter(|size| **size != -1).copied();
    let known = sizes(&known.collect::<Vec<_>>())?;
    let (whole, known) = (elements(&shape)?, elements(&known)?);
    let left = match known {
        0 => 0,
        _ => whole / known,
    };
    let left = usize::try_from(left).ok()?;
    let shape: Vec<usize> = asked
        .iter()
        .map(|size| usize::try_from(*size).unwrap_or(left))
        .collect();
    (elements(&shape)? == whole).then_some(Fact::Tensor(shape))
}

fn transpose(arguments: &ArgumentFacts, a: usize, b: usize) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    let a = dimension(arguments.int(a, "dim0")?, shape.len())?;
    let b = dimension(arguments.int(b, "dim1")?, shape.len())?;
    shape.swap(a, b);
    Some(Fact::Tensor(shape))
}

fn transpose_last(arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    shape.reverse();
    (shape.len() <= 2).then_some(Fact::Tensor(shape))
}

fn permute(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let order = arguments.ints(1, "dims")?;
    let size = |at: &i64| Some(shape[dimension(*at, shape.len())?]);
    let permuted: Option<Vec<usize>> = order.iter().map(size).collect();
    permuted
        .filter(|permuted| permuted.len() == shape.len())
        .map(Fact::Tensor)
}

fn unsqueeze(arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    let at = dimension(arguments.int(1, "dim")?, shape.len() + 1)?;
    shape.insert(at, 1);
    Some(Fact::Tensor(shape))
}

fn squeeze(arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    if !arguments.has(1, "dim") {
        shape.retain(|size| *size != 1);
        return Some(Fact::Tensor(shape));
    }
    let at = dimension(arguments.int(1, "dim")?, shape.len())?;
    if shape[at] == 1 {
        shape.remove(at);
    }
    Some(Fact::Tensor(shape))
}

fn flatten(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let start = dimension(arguments.int_or(1, "start_dim", 0)?, shape.len())?;
    let end = dimension(arguments.int_or(2, "end_dim", -1)?, shape.len())?;
    if start > end {
        return None;
    }
    let joined = usize::try_from(elements(&shape[start..=end])?).ok()?;
    let mut flat = shape[..start].to_vec();
    flat.push(joined);
    flat.extend(&shape[end + 1..]);
    Some(Fact::Tensor(flat))
}

/// -1 leaves a size as it is.
fn expand(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let asked = arguments.ints(1, "size")?;
    let added = asked.len().checked_sub(shape.len())?;
    let size = |(at, size): (usize, &i64)| match (*size, at.checked_sub(added)) {
        (-1, Some(at)) => Some(shape[at]),
        (size, _) => usize::try_from(size).ok(),
    };
    let expanded: Option<Vec<usize>> = asked.iter().enumerate().map(size).collect();
    expanded.map(Fact::Tensor)
}

/// The shape without the dimension that argument `index` names.
fn reduced_by(arguments: &ArgumentFacts, index: usize) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    shape.remove(dimension(arguments.int(index, "dim")?, shape.len())?);
    Some(Fact::Tensor(shape))
}

fn slice(name: &str, arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    let at = dimension(arguments.int_or(1, "dim", 0)?, shape.len())?;
    let size = i64::try_from(shape[at]).ok()?;
    if name == "narrow" {
        shape[at] = usize::try_from(arguments.int(3, "length")?).ok()?;
        return Some(Fact::Tensor(shape));
    }
    let bound = |number: i64| {
        if number < 0 {
            number.saturating_add(size).clamp(0, size)
        } else {
            number.min(size)
        }
    };
    let start = bound(arguments.int_or(2, "start", 0)?);
    let end = bound(arguments.int_or(3, "end", i64::MAX)?);
    let step = arguments.int_or(4, "step", 1)?;
    if step < 1 {
        return None;
    }
    let count = (end - start).max(0);
    shape[at] = usize::try_from(count / step + i64::from(count % step != 0)).ok()?;
    Some(Fact::Tensor(shape))
}

fn join(name: &str, arguments: &ArgumentFacts) -> Option<Fact> {
    let Fact::List(items) = arguments.get(0)? else {
        return None;
    };
    let shapes: Vec<Vec<usize>> = items.iter().map(Fact::shape).collect::<Option<_>>()?;
    let mut joined = shapes.first()?.clone();
    let dim = arguments.int_or(1, "dim", 0)?;
    if name == "stack" {
        joined.insert(dimension(dim, joined.len() + 1)?, shapes.len());
        return Some(Fact::Tensor(joined));
    }
    let at = dimension(dim, joined.len())?;
    joined[at] = shapes
        .iter()
        .try_fold(0usize, |sum, shape| sum.checked_add(*shape.get(at)?))?;
    Some(Fact::Tensor(joined))
}

/// The most parts whose shapes are followed one by one.
const PARTS_MAX: usize = 4096;

fn parts(name: &str, arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let dim = if name == "unbind" { 1 } else { 2 };
    let at = dimension(arguments.int_or(dim, "dim", 0)?, shape.len())?;
    let size = shape[at];
    let with = |part: usize| {
        let mut shape = shape.clone();
        shape[at] = part;
        Fact::Tensor(shape)
    };
    let every = |step: usize| -> Option<Vec<Fact>> {
        let count = size.div_ceil(step.max(1));
        let part = |index: usize| with(step.min(size - index * step));
        (step > 0 && count <= PARTS_MAX).then(|| (0..count).map(part).collect())
    };
    let all = match (name, arguments.get(1)) {
        ("unbind", _) => {
            let mut one = shape.clone();
            one.remove(at);
            (size <= PARTS_MAX).then(|| vec![Fact::Tensor(one); size])?
        }
        ("chunk", Some(Fact::Int(count))) => {
            every(size.div_ceil(usize::try_from(*count).ok().filter(|n| *n > 0)?))?
        }
        (_, Some(Fact::Int(step))) => every(usize::try_from(*step).ok()?)?,
        (_, Some(list)) => sizes(&list.ints()?)?.into_iter().map(with).collect(),
        (_, None) => return None,
    };
    Some(Fact::List(all.into()))
}

fn repeat(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let times = sizes(&arguments.ints(1, "repeats")?)?;
    let added = times.len().checked_sub(shape.len())?;
    let size = |(at, times): (usize, &usize)| match at.checked_sub(added) {
        Some(at) => times.checked_mul(shape[at]),
        None => Some(*times),
    };
    let repeated: Option<Vec<usize>> = times.iter().enumerate().map(size).collect();
    repeated.map(Fact::Tensor)
}

fn embedding(arguments: &ArgumentFacts) -> Option<Fact> {
    let (table, mut shape) = (arguments.shape(0)?, arguments.shape(1)?);
    let [_, width] = table[..] else { return None };
    shape.push(width);
    Some(Fact::Tensor(shape))
}

fn index_select(arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    let at = dimension(arguments.int(1, "dim")?, shape.len())?;
    shape[at] = usize::try_from(elements(&arguments.shape(2)?)?).ok()?;
    Some(Fact::Tensor(shape))
}

/// Pairs of what is added before and after, the last dimension first.
fn pad(arguments: &ArgumentFacts) -> Option<Fact> {
    let mut shape = arguments.shape(0)?;
    let added = arguments.ints(1, "pad")?;
    let rank = shape.len();
    for (index, pair) in added.chunks(2).enumerate() {
        let at = rank.checked_sub(index + 1)?;
        let size = pair
            .iter()
            .try_fold(i64::try_from(shape[at]).ok()?, |sum, n| sum.checked_add(*n));
        shape[at] = usize::try_from(size?).ok()?;
    }
    Some(Fact::Tensor(shape))
}

fn made(arguments: &ArgumentFacts, index: usize) -> Option<Fact> {
    sizes(&arguments.ints(index, "size")?).map(Fact::Tensor)
}

/// `arange(end, *, 4 settings)`, `arange(start, end, 4 settings)`, `arange(start, end, step, 4 settings)`.
fn arange(arguments: &ArgumentFacts) -> Option<Fact> {
    let numbers: Vec<i64> = match arguments.positional().len() {
        0 => return None,
        // Beside the type, the settings are None or False, which is the number 0 here.
        1 | 5 => vec![arguments.int(0, "end")?],
        2 | 6 => vec![arguments.int(0, "start")?, arguments.int(1, "end")?],
        3 | 7 => (0..3)
            .map(|at| arguments.int(at, ""))
            .collect::<Option<_>>()?,
        _ => return None,
    };
    let (start, end, step) = match numbers[..] {
        [end] => (0, end, 1),
        [start, end] => (start, end, 1),
        [start, end, step] => (start, end, step),
        _ => return None,
    };
    let count = end.checked_sub(start)?.max(0);
    let count = (step > 0).then(|| count / step + i64::from(count % step != 0))?;
    Some(Fact::Tensor(vec![usize::try_from(count).ok()?]))
}

fn size(arguments: &ArgumentFacts) -> Option<Fact> {
    let shape = arguments.shape(0)?;
    let int = |size: &usize| i64::try_from(*size).ok().map(Fact::Int);
    match arguments.find(1, "dim") {
        None => {
            let all: Option<Vec<Fact>> = shape.iter().map(int).collect();
            Some(Fact::List(all?.into()))
        }
        Some(dim) => int(&shape[dimension(dim.int()?, shape.len())?]),
    }
}

fn described(name: &str, arguments: &ArgumentFacts) -> Option<Fact> {
    let count = match (name, arguments.get(0)?) {
        ("len", Fact::List(items)) => u64::try_from(items.len()).ok()?,
        ("len", Fact::Tensor(shape)) => u64::try_from(*shape.first()?).ok()?,
        ("dim", fact) => u64::try_from(fact.shape()?.len()).ok()?,
        ("numel", fact) => elements(&fact.shape()?)?,
        _ => return None,
    };
    i64::try_from(count).ok().map(Fact::Int)
}

/// The shape of an elementwise result of the first `count` arguments.
pub(super) fn elementwise(arguments: &ArgumentFacts, count: usize) -> Option<Vec<usize>> {
    let given = arguments.positional().len().min(count);
    (1..given).try_fold(arguments.shape(0)?, |shape, index| {
        broadcast(&shape, &arguments.shape(index)?)
    })
}

/// The shape of a reduction over the dimensions in argument `index`, over all where there is none.
pub(super) fn reduced(arguments: &ArgumentFacts, index: usize) -> Option<Vec<usize>> {
    let shape = arguments.shape(0)?;
    let keep = arguments.int_or(index + 1, "keepdim", 0)? != 0;
    let named = if arguments.has(index, "dim") {
        arguments.ints(index, "dim")?
    } else {
        Vec::new()
    };
    let mut over = Vec::new();
    for dim in named {
        over.push(dimension(dim, shape.len())?);
    }
    let kept = |(at, size): (usize, &usize)| match over.is_empty() || over.contains(&at) {
        true if keep => Some(1),
        true => None,
        false => Some(*size),
    };
    Some(shape.iter().enumerate().filter_map(kept).collect())
}
