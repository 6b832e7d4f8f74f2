//! A traced graph as a list of operator calls, read from its TorchScript file.
//!
//! A TorchScript file is a zip archive whose `code/` holds the graph as text in a subset of Python,
//! one class per module, and whose `data.pkl` holds the modules. [`Graph::read`] follows `forward`
//! of the outermost module through all others, so that every operator that runs is one [`Call`],
//! however the modules nest. Nothing is executed.

mod archive;
mod expression;
mod inline;
mod lexer;
mod parser;
mod pickle;
mod syntax;

use std::path::Path;
use std::rc::Rc;

use anyhow::Result;

use crate::failure::Failure;

/// A graph without modules: values and the calls that make them, in the order of execution.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub values: Vec<Origin>,
    pub calls: Vec<Call>,
    /// The inputs of `forward`, as values.
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// The shapes of the inputs that the graph was traced with, where the file has them.
    pub traced_shapes: Vec<Vec<usize>>,
}

/// An index into [`Graph::values`].
pub type ValueId = usize;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Input(String),
    /// A weight, a buffer or a constant.
    Stored(Stored),
    /// An index into [`Graph::calls`].
    Call(usize),
    /// One of several values that a call returns.
    Part(ValueId, usize),
}

/// A tensor in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// The attributes that lead to it.
    pub path: String,
    pub shape: Option<Vec<usize>>,
    /// Its value, where it is a single whole number.
    pub number: Option<i64>,
}

/// One call of an operator.
#[derive(Debug, Clone)]
pub struct Call {
    /// As TorchScript names it, such as `aten::linear`.
    pub operator: String,
    pub arguments: Vec<Operand>,
    pub named: Vec<(String, Operand)>,
    pub result: ValueId,
    /// False below `if` and loops, where nobody knows how often it runs.
    pub certain: bool,
}

/// What a call takes.
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
    Module(Rc<inline::Instance>),
    Unknown,
}

impl Graph {
    /// The graph in a TorchScript file. The file may be of any size: weights are not read.
    pub fn read(path: &Path) -> Result<Self> {
        let archive = archive::read(path)?;
        inline::inline(archive).map_err(|error| not_understood(&path.display().to_string(), &error))
    }

    /// The graph of code as it stands in `code/__torch__.py`, without stored tensors.
    pub fn parse(code: &str) -> Result<Self> {
        let mut archive = archive::Archive::default();
        archive.code.insert("__torch__".to_owned(), code.to_owned());
        inline::inline(archive).map_err(|error| not_understood("code", &error))
    }

    /// The calls of operators: `prim` is bookkeeping, which torch-neuron does not count either.
    pub fn operators(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.is_operator())
    }
}

impl Call {
    /// False for what only moves numbers between types of the script.
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
    fn collect(&self, found: &mut Vec<ValueId>) {
        match self {
            Operand::Value(id) => found.push(*id),
            Operand::List(items) => items.iter().for_each(|item| item.collect(found)),
            _ => {}
        }
    }
}

fn not_understood(what: &str, error: &anyhow::Error) -> anyhow::Error {
    Failure::usage(format!("the graph in `{what}` is not understood"))
        .why(format!("{error:#}"))
        .help("graphs are what `torch.jit.trace` makes and `torch.jit.save` writes")
        .into()
}
