//! The operators of a traced graph, counted from the TorchScript file itself.
//!
//! Counted are the calls of operators, as torch-neuron counts "arithmetic operators": each as often
//! as it runs, in whatever module it stands. `prim` operators are bookkeeping.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use neuron_logs::reading::OperatorCount;

use crate::coverage::graph::TracedGraph;

/// The operators of the graph in a TorchScript file, by name.
pub fn count(path: &Path) -> Result<Vec<OperatorCount>> {
    Ok(of_graph(&TracedGraph::read(path)?))
}

/// The operators of a graph, by name.
pub fn of_graph(graph: &TracedGraph) -> Vec<OperatorCount> {
    let mut operators: BTreeMap<&str, usize> = BTreeMap::new();
    for call in graph.operators() {
        *operators.entry(&call.operator).or_default() += 1;
    }
    let count = |(operator, count): (&str, usize)| OperatorCount {
        operator: operator.to_owned(),
        count,
    };
    operators.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    #[test]
    fn counts_nested_calls_and_conversions_but_no_bookkeeping() {
        let code = r#"
class M(Module):
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    # torch.sin( in a comment
    _0 = torch.add(torch.linear(x, w), torch.linear(x, v))
    _1 = int(ops.prim.NumToTensor(torch.size(_0, 0)))
    _2 = ops.aten._convolution(_0, "torch.cos(")
    return torch.view(_2, [_1, -1])
"#;
        let rows: Vec<String> = of_graph(&TracedGraph::parse(code).unwrap())
            .iter()
            .map(|row| format!("{} {}", row.operator, row.count))
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
