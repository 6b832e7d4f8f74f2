//! The cost of operators in floating-point operations, by the conventions of `docs/estimate.md`.
//!
//! A product of matrices costs 2mnk, everything else a constant for each element; moving data costs
//! nothing. What is not known has no cost, and is counted as such: nothing is guessed.

use std::collections::BTreeMap;

use crate::coverage::estimate::fact::{ArgumentFacts, Fact, Facts, broadcast, elements};
use crate::coverage::estimate::shape;
use crate::coverage::graph::{TracedGraph, ValueId};

/// The result of an operator and its FLOPs; `None` for each that is not known.
type ResultAndFlops = (Option<Fact>, Option<u64>);

/// The FLOPs of each call of `graph`, whose inputs have these shapes; `None` for a call that is not
/// certain to run once, whose operator is not known, or whose shapes are not.
pub(super) fn of_graph(
    graph: &TracedGraph,
    shapes: &BTreeMap<ValueId, Vec<usize>>,
) -> Vec<Option<u64>> {
    let mut facts = Facts::new(&graph.values, shapes);
    let mut costs = Vec::with_capacity(graph.calls.len());
    for call in &graph.calls {
        let arguments = facts.of_call(&graph.values, call);
        let (result, flops) = of_call(&call.operator, &arguments);
        if call.certain {
            facts.set(call.result, result.unwrap_or(Fact::Unknown));
        }
        costs.push(flops.filter(|_| call.certain));
    }
    costs
}

fn of_call(operator: &str, arguments: &ArgumentFacts) -> ResultAndFlops {
    let Some(name) = operator
        .strip_prefix("aten::")
        .or_else(|| operator.strip_prefix("prim::"))
    else {
        return (None, None);
    };
    let name = out_of_place(name);
    if let Some(result) = whole_numbers(name, arguments) {
        return (Some(result), Some(0));
    }
    if let Some(result) = shape::moved(name, arguments) {
        return (result, Some(0));
    }
    if let Some((count, flops)) = elementwise(name, arguments) {
        let shape = shape::elementwise(arguments, count);
        let flops = shape
            .as_deref()
            .and_then(elements)
            .and_then(|n| n.checked_mul(flops));
        return (shape.map(Fact::Tensor), flops);
    }
    if let Some(flops) = normalising(name) {
        let shape = arguments.shape(0);
        let flops = shape
            .as_deref()
            .and_then(elements)
            .and_then(|n| n.checked_mul(flops));
        return (shape.map(Fact::Tensor), flops);
    }
    if let Some(flops) = reducing(name) {
        return reduction(name, flops, arguments);
    }
    match product(name, arguments) {
        Some((shape, flops)) => (Some(Fact::Tensor(shape)), Some(flops)),
        None => (None, None),
    }
}

/// `add_` computes what `add` computes.
pub(super) fn out_of_place(name: &str) -> &str {
    match name.strip_suffix('_') {
        Some(short) if !short.is_empty() && !short.ends_with('_') => short,
        _ => name,
    }
}

/// Arithmetic with sizes, which are tensors in a trace and numbers here.
fn whole_numbers(name: &str, arguments: &ArgumentFacts) -> Option<Fact> {
    let (a, b) = (arguments.get(0)?.int()?, arguments.get(1)?.int()?);
    let result = match name {
        "add" => a.checked_add(b),
        "sub" => a.checked_sub(b),
        "mul" => a.checked_mul(b),
        "floor_divide" | "floordiv" => a.checked_div_euclid(b),
        "div" => a
            .checked_rem(b)
            .filter(|rest| *rest == 0)
            .and(a.checked_div(b)),
        _ => return None,
    };
    Some(result.map_or(Fact::Other, Fact::Int))
}

/// The number of operands that make the shape, and the FLOPs for each element.
fn elementwise(name: &str, arguments: &ArgumentFacts) -> Option<(usize, u64)> {
    Some(match name {
        "neg" | "abs" | "sqrt" | "rsqrt" | "reciprocal" | "exp" | "expm1" | "log" | "log2"
        | "log1p" | "tanh" | "sin" | "cos" | "erf" | "floor" | "ceil" | "round" | "trunc"
        | "sign" | "square" | "relu" | "relu6" | "clamp" | "clamp_min" | "clamp_max" | "clip"
        | "hardtanh" | "threshold" | "isnan" | "logical_not" | "bitwise_not" => (1, 1),
        "add" | "sub" | "rsub" | "mul" | "div" | "true_divide" | "floor_divide" | "remainder"
        | "fmod" | "pow" | "maximum" | "minimum" | "atan2" | "eq" | "ne" | "lt" | "le" | "gt"
        | "ge" | "logical_and" | "logical_or" | "logical_xor" | "bitwise_and" | "bitwise_or"
        | "__and__" | "__or__" | "masked_fill" => (2, 1),
        // With one argument it is another operator: the places of what is not zero.
        "where" if arguments.positional().len() == 3 => (3, 1),
        "addcmul" | "addcdiv" => (3, 2),
        "leaky_relu" => (1, 2),
        "softplus" | "elu" | "hardsigmoid" => (1, 3),
        "sigmoid" | "hardswish" => (1, 4),
        "silu" => (1, 5),
        "gelu" if arguments.has_text("tanh") => (1, 9),
        "gelu" => (1, 5),
        _ => return None,
    })
}

/// The FLOPs for each element of operators that keep the shape and look at more than one element.
fn normalising(name: &str) -> Option<u64> {
    Some(match name {
        "cumsum" => 1,
        "batch_norm" => 4,
        // Largest, difference, exponential, sum, quotient.
        "softmax" | "_softmax" | "log_softmax" | "_log_softmax" => 5,
        // Mean, difference, square, its mean, scale by the deviation, weight, bias.
        "layer_norm" | "group_norm" | "instance_norm" => 7,
        _ => return None,
    })
}

/// The FLOPs for each element that is reduced.
fn reducing(name: &str) -> Option<u64> {
    Some(match name {
        "sum" | "mean" | "prod" | "amax" | "amin" | "max" | "min" | "argmax" | "argmin" | "all"
        | "any" => 1,
        "norm" | "frobenius_norm" | "linalg_vector_norm" => 2,
        _ => return None,
    })
}

fn reduction(name: &str, flops: u64, arguments: &ArgumentFacts) -> ResultAndFlops {
    let count = arguments.shape(0).as_deref().and_then(elements);
    // `norm(x, p, dim, keepdim)`; the others have the dimensions second.
    let index = match name {
        "norm" | "linalg_vector_norm" => 2,
        _ => 1,
    };
    let other = arguments.get(1).and_then(Fact::shape);
    if let ("max" | "min", Some(Fact::Tensor(_)), Some(other)) = (name, arguments.get(1), other) {
        let shape = arguments
            .shape(0)
            .and_then(|shape| broadcast(&shape, &other));
        let flops = shape.as_deref().and_then(elements);
        return (shape.map(Fact::Tensor), flops);
    }
    let shape = shape::reduced(arguments, index).map(Fact::Tensor);
    let shape = match (name, shape) {
        // With a dimension they return the places as well.
        ("max" | "min", Some(shape)) if arguments.has(1, "dim") => {
            Some(Fact::List([shape.clone(), shape].into()))
        }
        (_, shape) => shape,
    };
    (shape, count.and_then(|count| count.checked_mul(flops)))
}

/// 2mnk for each product, and what is added.
fn product(name: &str, arguments: &ArgumentFacts) -> Option<(Vec<usize>, u64)> {
    match name {
        "matmul" | "mm" | "bmm" | "mv" | "dot" => {
            matmul(&arguments.shape(0)?, &arguments.shape(1)?)
        }
        "linear" => {
            let mut weight = arguments.shape(1)?;
            weight.reverse();
            let (shape, flops) = matmul(&arguments.shape(0)?, &weight)?;
            added(shape, flops, arguments.has(2, "bias"))
        }
        "addmm" | "baddbmm" => {
            let (shape, flops) = matmul(&arguments.shape(1)?, &arguments.shape(2)?)?;
            added(shape, flops, true)
        }
        "scaled_dot_product_attention" => attention(arguments),
        "_convolution" | "conv1d" | "conv2d" | "conv3d" | "convolution" => {
            convolution(name, arguments)
        }
        "max_pool2d" | "avg_pool2d" => pool(arguments),
        "adaptive_avg_pool2d" => {
            let mut shape = arguments.shape(0)?;
            let flops = elements(&shape)?;
            let rank = shape.len();
            let [.., height, width] = arguments.ints(1, "output_size")?[..] else {
                return None;
            };
            *shape.get_mut(rank.checked_sub(2)?)? = usize::try_from(height).ok()?;
            *shape.get_mut(rank.checked_sub(1)?)? = usize::try_from(width).ok()?;
            Some((shape, flops))
        }
        _ => None,
    }
}

fn added(shape: Vec<usize>, flops: u64, bias: bool) -> Option<(Vec<usize>, u64)> {
    let more = if bias { elements(&shape)? } else { 0 };
    Some((shape, flops.checked_add(more)?))
}

fn matmul(a: &[usize], b: &[usize]) -> Option<(Vec<usize>, u64)> {
    let (a_batch, rows, inner) = match a {
        [inner] => (&[][..], None, *inner),
        [batch @ .., rows, inner] => (batch, Some(*rows), *inner),
        [] => return None,
    };
    let (b_batch, same, columns) = match b {
        [inner] => (&[][..], *inner, None),
        [batch @ .., inner, columns] => (batch, *inner, Some(*columns)),
        [] => return None,
    };
    let mut shape = broadcast(a_batch, b_batch)?;
    shape.extend(rows.into_iter().chain(columns));
    let inner = u64::try_from(inner).ok().filter(|_| inner == same)?;
    let flops = elements(&shape)?.checked_mul(2)?.checked_mul(inner)?;
    Some((shape, flops))
}

/// Scaling, product with the keys, mask, softmax, product with the values.
fn attention(arguments: &ArgumentFacts) -> Option<(Vec<usize>, u64)> {
    let (query, mut key) = (arguments.shape(0)?, arguments.shape(1)?);
    let rank = key.len();
    key.swap(rank.checked_sub(2)?, rank - 1);
    let (scores, first) = matmul(&query, &key)?;
    let (shape, second) = matmul(&scores, &arguments.shape(2)?)?;
    let mask = u64::from(arguments.has(3, "attn_mask"));
    let around = elements(&scores)?.checked_mul(5 + mask)?;
    let scaling = elements(&query)?;
    let flops = first.checked_add(second)?.checked_add(around)?;
    Some((shape, flops.checked_add(scaling)?))
}

/// `_convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)`;
/// the others without the two before the last.
fn convolution(name: &str, arguments: &ArgumentFacts) -> Option<(Vec<usize>, u64)> {
    let (input, weight) = (arguments.shape(0)?, arguments.shape(1)?);
    let long = matches!(name, "_convolution" | "convolution");
    if input.len() != weight.len()
        || input.len() < 3
        || (long && arguments.int(6, "transposed")? != 0)
    {
        return None;
    }
    let spatial = input.len() - 2;
    let setting = |index: usize, key: &str, default: i64| -> Option<Vec<i64>> {
        let given = if arguments.has(index, key) {
            arguments.ints(index, key)?
        } else {
            vec![default]
        };
        match given.len() {
            1 => Some(vec![given[0]; spatial]),
            count => (count == spatial).then_some(given),
        }
    };
    let stride = setting(3, "stride", 1)?;
    let padding = setting(4, "padding", 0)?;
    let dilation = setting(5, "dilation", 1)?;
    let mut shape = vec![input[0], weight[0]];
    for at in 0..spatial {
        let window = SlidingWindow {
            size: weight[at + 2],
            stride: stride[at],
            padding: padding[at],
            dilation: dilation[at],
        };
        shape.push(window.places(input[at + 2])?);
    }
    // The weight has the channels of one group.
    let each = elements(&weight[1..])?.checked_mul(2)?;
    let flops = elements(&shape)?.checked_mul(each)?;
    added(shape, flops, arguments.has(2, "bias"))
}

/// `max_pool2d(input, kernel, stride, padding, ...)`; one FLOP for each element under the window.
fn pool(arguments: &ArgumentFacts) -> Option<(Vec<usize>, u64)> {
    let mut shape = arguments.shape(0)?;
    let pair = |numbers: Vec<i64>| match numbers[..] {
        [both] => Some([both, both]),
        [height, width] => Some([height, width]),
        _ => None,
    };
    let kernel = pair(arguments.ints(1, "kernel_size")?)?;
    let stride = match arguments.ints(2, "stride") {
        Some(stride) if !stride.is_empty() => pair(stride)?,
        _ => kernel,
    };
    let padding = if arguments.has(3, "padding") {
        pair(arguments.ints(3, "padding")?)?
    } else {
        [0, 0]
    };
    let first = shape.len().checked_sub(2)?;
    let mut under = 1u64;
    for at in 0..2 {
        let window = SlidingWindow {
            size: usize::try_from(kernel[at]).ok()?,
            stride: stride[at],
            padding: padding[at],
            dilation: 1,
        };
        shape[first + at] = window.places(shape[first + at])?;
        under = under.checked_mul(u64::try_from(kernel[at]).ok()?)?;
    }
    let flops = elements(&shape)?.checked_mul(under)?;
    Some((shape, flops))
}

/// A window that moves along one dimension.
struct SlidingWindow {
    size: usize,
    stride: i64,
    padding: i64,
    dilation: i64,
}

impl SlidingWindow {
    /// The number of places in which it fits.
    fn places(&self, along: usize) -> Option<usize> {
        let along = i64::try_from(along).ok()?;
        let padded = along.checked_add(self.padding.checked_mul(2)?)?;
        let reach = i64::try_from(self.size).ok()?.checked_sub(1)?;
        let reach = reach.checked_mul(self.dilation)?.checked_add(1)?;
        let room = padded.checked_sub(reach).filter(|room| *room >= 0)?;
        usize::try_from(room.checked_div(self.stride)?.checked_add(1)?).ok()
    }
}
