//! A graph without modules: values, and the operator calls that make them.

use std::rc::Rc;

/// A graph in the order of execution.
#[derive(Debug, Clone, Default)]
pub struct TracedGraph {
    pub values: Vec<ValueOrigin>,
    pub calls: Vec<OperatorCall>,
    /// The inputs of `forward`, as values.
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// The shapes of the inputs that the graph was traced with, where the file has them.
    pub traced_shapes: Vec<Vec<usize>>,
}

/// An index into [`TracedGraph::values`].
pub type ValueId = usize;

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueOrigin {
    Input(String),
    /// A weight, a buffer or a constant.
    Stored(StoredTensor),
    /// An index into [`TracedGraph::calls`].
    Call(usize),
    /// One of several values that a call returns.
    Part(ValueId, usize),
}

/// A tensor in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredTensor {
    /// The attributes that lead to it.
    pub path: String,
    pub shape: Option<Vec<usize>>,
    /// Its value, where it is a single whole number.
    pub number: Option<i64>,
}

/// One call of an operator.
#[derive(Debug, Clone)]
pub struct OperatorCall {
    /// The name in TorchScript, such as `aten::linear`.
    pub operator: String,
    pub arguments: Vec<Operand>,
    pub named: Vec<(String, Operand)>,
    pub result: ValueId,
    /// False below `if` and loops, where nobody knows how often it runs.
    pub certain: bool,
}

/// An argument of a call.
#[derive(Debug, Clone)]
pub enum Operand {
    Value(ValueId),
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    None,
    /// A list or a tuple.
    List(Rc<[Operand]>),
    Module(Rc<ModuleInstance>),
    Unknown,
}

/// A module: the attributes that lead to it, and its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInstance {
    pub(super) path: String,
    pub(super) class: String,
}

impl TracedGraph {
    /// The calls of operators: `prim` is bookkeeping, which torch-neuron does not count either.
    pub fn operators(&self) -> impl Iterator<Item = &OperatorCall> {
        self.calls.iter().filter(|call| call.is_operator())
    }
}

impl OperatorCall {
    /// False for a call that only moves numbers between types of the script.
    pub fn is_operator(&self) -> bool {
        !self.operator.starts_with("prim::")
    }

    /// The values that the call takes, in lists too.
    pub fn values(&self) -> Vec<ValueId> {
        let mut found = Vec::new();
        let named = self.named.iter().map(|(_, operand)| operand);
        for operand in self.arguments.iter().chain(named) {
            operand.collect(&mut found);
        }
        found
    }
}

impl Operand {
    /// Adds the values in it to `found`.
    pub(super) fn collect(&self, found: &mut Vec<ValueId>) {
        match self {
            Operand::Value(id) => found.push(*id),
            Operand::List(items) => items.iter().for_each(|item| item.collect(found)),
            _ => {}
        }
    }
}
