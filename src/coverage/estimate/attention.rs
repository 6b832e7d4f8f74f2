//! The explicit form of attention, for chips that neuronc traces it for.

use crate::coverage::graph::{Call, Graph, Operand, Origin, ValueId};

const FUSED: &str = "aten::scaled_dot_product_attention";

/// `graph` with every fused attention written out as the tracer would: the query is scaled, two
/// products stand around a mask and a softmax. Also gives how many there were.
pub(super) fn explicit(graph: &Graph) -> (Graph, usize) {
    let fused = graph.calls.iter().filter(|call| call.operator == FUSED);
    let count = fused.count();
    let mut writer = Writer {
        graph: Graph {
            calls: Vec::with_capacity(graph.calls.len() + 5 * count),
            ..graph.clone()
        },
    };
    writer.graph.calls.clear();
    for call in &graph.calls {
        match call.operator == FUSED {
            true => writer.write_out(call),
            false => writer.push(call.clone()),
        }
    }
    (writer.graph, count)
}

struct Writer {
    graph: Graph,
}

impl Writer {
    fn push(&mut self, call: Call) {
        self.graph.values[call.result] = Origin::Call(self.graph.calls.len());
        self.graph.calls.push(call);
    }

    fn write_out(&mut self, fused: &Call) {
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

    fn call(&mut self, fused: &Call, name: &str, arguments: Vec<Operand>) -> Operand {
        let result = self.graph.values.len();
        self.graph.values.push(Origin::Call(0));
        self.put(fused, name, arguments, result);
        Operand::Value(result)
    }

    fn put(&mut self, fused: &Call, name: &str, arguments: Vec<Operand>, result: ValueId) {
        self.push(Call {
            operator: format!("aten::{name}"),
            arguments,
            named: Vec::new(),
            result,
            certain: fused.certain,
        });
    }
}
