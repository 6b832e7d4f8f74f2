//! The explicit form of attention, for chips that neuronc traces it for.

use crate::coverage::graph::{Operand, OperatorCall, TracedGraph, ValueId, ValueOrigin};

const FUSED: &str = "aten::scaled_dot_product_attention";

/// `graph` with every fused attention written out as the tracer would: the query is scaled, two
/// products stand around a mask and a softmax. Also gives how many there were.
pub(super) fn explicit(graph: &TracedGraph) -> (TracedGraph, usize) {
    let fused = graph.calls.iter().filter(|call| call.operator == FUSED);
    let count = fused.count();
    let mut writer = ExplicitWriter {
        graph: TracedGraph {
            calls: Vec::with_capacity(graph.calls.len() + 5 * count),
            ..graph.clone()
        },
    };
    writer.graph.calls.clear();
    for call in &graph.calls {
        if call.operator == FUSED {
            writer.write_out(call);
        } else {
            writer.push(call.clone());
        }
    }
    (writer.graph, count)
}

/// The graph that is being written.
struct ExplicitWriter {
    graph: TracedGraph,
}

impl ExplicitWriter {
    fn push(&mut self, call: OperatorCall) {
        self.graph.values[call.result] = ValueOrigin::Call(self.graph.calls.len());
        self.graph.calls.push(call);
    }

    /// Adds the calls of the explicit form. The last one makes the value that the fused call made, so
    /// that nothing behind it changes.
    fn write_out(&mut self, fused: &OperatorCall) {
        let argument = |index: usize, name: &str| {
            let named = fused.named.iter().find(|(known, _)| known == name);
            let given = fused
                .arguments
                .get(index)
                .or(named.map(|(_, operand)| operand));
            given.cloned().unwrap_or(Operand::None)
        };
        let [query, key, value, mask] = [
            argument(0, "query"),
            argument(1, "key"),
            argument(2, "value"),
            argument(3, "attn_mask"),
        ];
        let query = self.call(fused, "mul", vec![query, Operand::Float(1.0)]);
        let turned = [Operand::Int(-1), Operand::Int(-2)];
        let key = self.call(
            fused,
            "transpose",
            [key].into_iter().chain(turned).collect(),
        );
        let mut scores = self.call(fused, "matmul", vec![query, key]);
        if !matches!(mask, Operand::None) {
            scores = self.call(fused, "add", vec![scores, mask]);
        }
        let shares = self.call(fused, "softmax", vec![scores, Operand::Int(-1)]);
        self.put(fused, "matmul", vec![shares, value], fused.result);
    }

    fn call(&mut self, fused: &OperatorCall, name: &str, arguments: Vec<Operand>) -> Operand {
        let result = self.graph.values.len();
        self.graph.values.push(ValueOrigin::Call(0));
        self.put(fused, name, arguments, result);
        Operand::Value(result)
    }

    fn put(&mut self, fused: &OperatorCall, name: &str, arguments: Vec<Operand>, result: ValueId) {
        self.push(OperatorCall {
            operator: format!("aten::{name}"),
            arguments,
            named: Vec::new(),
            result,
            certain: fused.certain,
        });
    }
}
