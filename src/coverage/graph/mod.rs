//! A traced graph as a list of operator calls, read from its TorchScript file.
//!
//! A TorchScript file is a zip archive whose `code/` holds the graph as text in a subset of Python,
//! one class per module, and whose `data.pkl` holds the modules. [`TracedGraph::read`] follows
//! `forward` of the outermost module through all others, so that every operator that runs is one
//! [`OperatorCall`], however the modules nest. Nothing is executed.
//!
//! `archive` takes the file apart, with `pickle` for its tables; `lexer`, `parser` and `expression`
//! make a tree of the code (`syntax`); `inline` follows the modules.

mod archive;
mod expression;
mod inline;
mod lexer;
mod parser;
mod pickle;
mod syntax;
mod traced_graph;

use std::path::Path;

use anyhow::Result;

use crate::failure::Failure;

pub use traced_graph::{Operand, OperatorCall, StoredTensor, TracedGraph, ValueId, ValueOrigin};

impl TracedGraph {
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
}

fn not_understood(what: &str, error: &anyhow::Error) -> anyhow::Error {
    Failure::usage(format!("the graph in `{what}` is not understood"))
        .why(format!("{error:#}"))
        .help("graphs are what `torch.jit.trace` makes and `torch.jit.save` writes")
        .into()
}
