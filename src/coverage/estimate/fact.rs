//! Facts about values that need no run of the graph: the shape of a tensor, or a number.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::coverage::graph::{Operand, OperatorCall, ValueId, ValueOrigin};

/// A fact about a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Unknown,
    /// A tensor of this shape.
    Tensor(Vec<usize>),
    /// A whole number, also as a tensor without dimensions.
    Int(i64),
    /// Any other number, text or setting.
    Other,
    None,
    List(Rc<[Fact]>),
}

/// The facts of all values of a graph that have been reached.
#[derive(Debug)]
pub(super) struct Facts {
    by_value: BTreeMap<ValueId, Fact>,
}

impl Facts {
    /// `shapes` are those of the graph's inputs, by value.
    pub(super) fn new(values: &[ValueOrigin], shapes: &BTreeMap<ValueId, Vec<usize>>) -> Self {
        let fact = |(id, origin): (ValueId, &ValueOrigin)| {
            let fact = match origin {
                ValueOrigin::Input(_) => shapes.get(&id).cloned().map(Fact::Tensor),
                ValueOrigin::Stored(tensor) => match tensor.number {
                    Some(number) => Some(Fact::Int(number)),
                    None => tensor.shape.clone().map(Fact::Tensor),
                },
                ValueOrigin::Call(_) | ValueOrigin::Part(..) => None,
            };
            Some((id, fact?))
        };
        Self {
            by_value: values.iter().enumerate().filter_map(fact).collect(),
        }
    }

    pub(super) fn set(&mut self, id: ValueId, fact: Fact) {
        self.by_value.insert(id, fact);
    }

    fn of_value(&self, values: &[ValueOrigin], id: ValueId) -> Fact {
        if let Some(fact) = self.by_value.get(&id) {
            return fact.clone();
        }
        match values.get(id) {
            Some(ValueOrigin::Part(of, index)) => match self.by_value.get(of) {
                Some(Fact::List(items)) => items.get(*index).cloned().unwrap_or(Fact::Unknown),
                _ => Fact::Unknown,
            },
            _ => Fact::Unknown,
        }
    }

    fn of(&self, values: &[ValueOrigin], operand: &Operand) -> Fact {
        match operand {
            Operand::Value(id) => self.of_value(values, *id),
            Operand::Int(number) => Fact::Int(*number),
            Operand::Bool(is) => Fact::Int(i64::from(*is)),
            Operand::Float(_) | Operand::Text(_) | Operand::Module(_) => Fact::Other,
            Operand::None => Fact::None,
            Operand::List(items) => {
                Fact::List(items.iter().map(|item| self.of(values, item)).collect())
            }
            Operand::Unknown => Fact::Unknown,
        }
    }

    /// The facts about the arguments of a call.
    pub(super) fn of_call(&self, values: &[ValueOrigin], call: &OperatorCall) -> ArgumentFacts {
        let named = call.named.iter();
        ArgumentFacts {
            positional: call
                .arguments
                .iter()
                .map(|operand| self.of(values, operand))
                .collect(),
            named: named
                .map(|(name, operand)| (name.clone(), self.of(values, operand)))
                .collect(),
            texts: call
                .arguments
                .iter()
                .chain(call.named.iter().map(|(_, operand)| operand))
                .filter_map(|operand| match operand {
                    Operand::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
        }
    }
}

/// The facts about the arguments of a call. Each accessor gives `None` where the answer is not known.
#[derive(Debug)]
pub(super) struct ArgumentFacts {
    positional: Vec<Fact>,
    named: Vec<(String, Fact)>,
    texts: Vec<String>,
}

impl ArgumentFacts {
    /// The argument at `index` of the operator's schema; `None` for one that is left out.
    pub(super) fn get(&self, index: usize) -> Option<&Fact> {
        self.positional.get(index)
    }

    /// As [`ArgumentFacts::get`], for an argument that may be given by name instead.
    pub(super) fn find(&self, index: usize, name: &str) -> Option<&Fact> {
        let named = self.named.iter().find(|(known, _)| known == name);
        self.get(index).or(named.map(|(_, fact)| fact))
    }

    pub(super) fn positional(&self) -> &[Fact] {
        &self.positional
    }

    pub(super) fn has_text(&self, text: &str) -> bool {
        self.texts.iter().any(|known| known == text)
    }

    /// The shape of the tensor at `index`; a number has no dimensions.
    pub(super) fn shape(&self, index: usize) -> Option<Vec<usize>> {
        self.get(index)?.shape()
    }

    pub(super) fn int(&self, index: usize, name: &str) -> Option<i64> {
        self.find(index, name)?.int()
    }

    /// A number that is `default` where it is left out.
    pub(super) fn int_or(&self, index: usize, name: &str, default: i64) -> Option<i64> {
        match self.find(index, name) {
            None | Some(Fact::None) => Some(default),
            Some(fact) => fact.int(),
        }
    }

    pub(super) fn ints(&self, index: usize, name: &str) -> Option<Vec<i64>> {
        self.find(index, name)?.ints()
    }

    /// True for an argument that is given and not `None`.
    pub(super) fn has(&self, index: usize, name: &str) -> bool {
        !matches!(self.find(index, name), None | Some(Fact::None))
    }
}

impl Fact {
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        match self {
            Fact::Tensor(shape) => Some(shape.clone()),
            Fact::Int(_) | Fact::Other => Some(Vec::new()),
            _ => None,
        }
    }

    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Fact::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// A list of numbers, or a single one as such a list.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Fact::Int(number) => Some(vec![*number]),
            Fact::List(items) => items.iter().map(Fact::int).collect(),
            _ => None,
        }
    }
}

/// The number of elements; `None` when it is beyond counting.
pub(super) fn elements(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, size| {
        product.checked_mul(u64::try_from(*size).ok()?)
    })
}

/// The dimension that an index names, which counts from the end when it is negative.
pub(super) fn dimension(index: i64, rank: usize) -> Option<usize> {
    let signed = i64::try_from(rank).ok()?;
    let index = if index < 0 { index + signed } else { index };
    usize::try_from(index).ok().filter(|index| *index < rank)
}

/// The shape of an elementwise result.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], at: usize| match (at + shape.len()).checked_sub(rank) {
        Some(at) => shape[at],
        None => 1,
    };
    (0..rank)
        .map(|at| match (size(a, at), size(b, at)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_the_right() {
        let both = |a: &[usize], b: &[usize]| broadcast(a, b);
        assert_eq!(both(&[1, 12, 8, 8], &[1, 1, 1, 8]), Some(vec![1, 12, 8, 8]));
        assert_eq!(both(&[4], &[3, 1]), Some(vec![3, 4]));
        assert_eq!(both(&[], &[2]), Some(vec![2]));
        assert_eq!(both(&[3], &[4]), None);
    }

    #[test]
    fn dimensions_count_from_both_ends() {
        assert_eq!(dimension(-1, 3), Some(2));
        assert_eq!(dimension(0, 3), Some(0));
        assert_eq!((dimension(3, 3), dimension(-4, 3)), (None, None));
    }
}
