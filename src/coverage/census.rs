//! The operators of a traced graph, counted from the TorchScript file itself.
//!
//! A TorchScript file is a zip archive whose `code/` holds the graph as text in a subset of Python.
//! Counted are the calls of aten operators, as torch-neuron counts "arithmetic operators"; `prim`
//! operators are bookkeeping.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use regex::Regex;

use crate::coverage::OperatorCount;
use crate::failure::Failure;
use crate::files;

/// The code of one graph may not be larger than this many bytes when unpacked.
const CODE_BYTES_MAX: u64 = 64 << 20;

static LITERAL: LazyLock<Regex> =
    LazyLock::new(|| regex(r#""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|#[^\n]*"#));

/// `torch.name(`, `ops.namespace.name(`, and the conversions that are written as functions.
static CALL: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(?:torch\.(\w+)|ops\.(\w+)\.(\w+)|(int|float|bool))\("));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is constant")
}

/// The aten operators of the graph in a TorchScript file, by name.
pub fn count(path: &Path) -> Result<Vec<OperatorCount>> {
    let mut operators = BTreeMap::new();
    for code in code(path)? {
        count_calls(&code, &mut operators);
    }
    let count = |(operator, count)| OperatorCount { operator, count };
    Ok(operators.into_iter().map(count).collect())
}

fn count_calls(code: &str, operators: &mut BTreeMap<String, usize>) {
    let code = LITERAL.replace_all(code, "");
    for call in CALL.captures_iter(&code) {
        let group = |index: usize| call.get(index).map(|text| text.as_str());
        let operator = match (group(1), group(2), group(3), group(4)) {
            (Some(name), ..) => format!("aten::{name}"),
            (_, Some("aten"), Some(name), _) => format!("aten::{name}"),
            (.., Some(conversion)) => format!("aten::{}", capitalised(conversion)),
            _ => continue,
        };
        *operators.entry(operator).or_default() += 1;
    }
}

/// `int` is the operator `aten::Int`.
fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

/// The texts under `code/` in the archive.
fn code(path: &Path) -> Result<Vec<String>> {
    let unreadable = |why: String| {
        Failure::usage(format!("`{}` is not a TorchScript file", path.display())).why(why)
    };
    let bytes = files::read(path)?;
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| unreadable(error.to_string()))?;
    let is_code = |name: &String| name.contains("/code/") && name.ends_with(".py");
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(Cow::into_owned))
        .filter(is_code)
        .collect();
    if names.is_empty() {
        return Err(unreadable("the archive has no `code/`".to_owned()).into());
    }
    let mut texts = Vec::new();
    for name in names {
        let mut text = String::new();
        archive
            .by_name(&name)
            .map_err(|error| unreadable(error.to_string()))?
            .take(CODE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| unreadable(format!("`{name}`: {error}")))?;
        texts.push(text);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_nested_calls_and_conversions_but_no_bookkeeping() {
        let code = r#"
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    # torch.sin( in a comment
    _0 = torch.add(torch.linear(x, w), torch.linear(x, v))
    _1 = int(ops.prim.NumToTensor(torch.size(_0, 0)))
    _2 = ops.aten._convolution(_0, "torch.cos(")
    return torch.view(_2, [_1, -1])
"#;
        let mut operators = BTreeMap::new();
        count_calls(code, &mut operators);
        let rows: Vec<String> = operators
            .iter()
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        assert_eq!(
            rows,
            [
                "aten::Int 1",
                "aten::_convolution 1",
                "aten::add 1",
                "aten::linear 2",
                "aten::size 1",
                "aten::view 1"
            ]
        );
    }

    #[test]
    fn what_is_no_torchscript_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("graph.pt");
        files::write(&path, b"not a zip").unwrap();
        let error = count(&path).unwrap_err().to_string();
        assert!(error.contains("graph.pt"), "{error}");
    }
}
