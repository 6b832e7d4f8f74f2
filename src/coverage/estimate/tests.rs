//! Small graphs in, shapes, costs, states and places out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::profile;

fn parsed(body: &str, inputs: &str) -> TracedGraph {
    let parameters: Vec<String> = inputs
        .split_whitespace()
        .map(|name| format!("{name}: Tensor"))
        .collect();
    let body = body.replace('\n', "\n    ");
    TracedGraph::parse(&format!(
        "class M(Module):\n  def forward(self: __torch__.M, {}) -> Tensor:\n    {body}\n",
        parameters.join(", ")
    ))
    .unwrap()
}

/// The estimate of a graph whose inputs have these shapes.
fn estimate(chip: &str, graph: &TracedGraph, shapes: &[&[usize]]) -> BucketEstimate {
    let profile = profile::load(chip).unwrap();
    let shapes = shapes.iter().map(|shape| shape.to_vec());
    let shapes: BTreeMap<ValueId, Vec<usize>> = graph.inputs.iter().copied().zip(shapes).collect();
    ChipEstimator::of(&profile)
        .unwrap()
        .estimate(None, graph, &shapes)
}

/// The FLOPs of the only call of `operator`.
fn flops(bucket: &BucketEstimate, operator: &str) -> Option<u64> {
    let row = bucket.operators.iter().find(|row| row.operator == operator);
    let row = row.unwrap_or_else(|| panic!("no {operator} in {bucket:?}"));
    (row.flops_unknown == 0).then_some(row.flops)
}

#[test]
fn products_cost_two_for_each_multiplication() {
    let graph = parsed(
        "_0 = torch.linear(x, w, b)\nreturn torch.matmul(_0, torch.transpose(_0, 1, 2))",
        "x w b",
    );
    let bucket = estimate("inf1", &graph, &[&[2, 8, 16], &[32, 16], &[32]]);
    assert_eq!(
        flops(&bucket, "aten::linear"),
        Some(2 * 2 * 8 * 16 * 32 + 2 * 8 * 32)
    );
    assert_eq!(flops(&bucket, "aten::matmul"), Some(2 * 2 * 8 * 8 * 32));
    assert_eq!(flops(&bucket, "aten::transpose"), Some(0));
}

#[test]
fn a_convolution_costs_its_weights_at_each_place() {
    let call = "torch._convolution(x, w, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, False, \
                False, True, True)";
    let body = format!("_0 = {call}\nreturn torch.relu(torch.max_pool2d(_0, [2, 2], [2, 2]))");
    let graph = parsed(&body, "x w");
    let bucket = estimate("inf1", &graph, &[&[1, 3, 32, 32], &[8, 3, 3, 3]]);
    let places = 16 * 16;
    assert_eq!(
        flops(&bucket, "aten::_convolution"),
        Some(2 * 8 * places * 27)
    );
    assert_eq!(flops(&bucket, "aten::max_pool2d"), Some(8 * 8 * 8 * 4));
    assert_eq!(flops(&bucket, "aten::relu"), Some(8 * 8 * 8));
}

#[test]
fn shapes_follow_sizes_that_the_graph_computes() {
    let body = "n = ops.prim.NumToTensor(torch.size(x, 1))\n\
                _0 = torch.view(x, [1, int(n), 4, -1])\n\
                _1, _2, = torch.split(torch.permute(_0, [0, 2, 1, 3]), 2, 1)\n\
                _3 = torch.cat([_1, torch.slice(_2, 1, 0, 1)], 1)\n\
                return torch.softmax(torch.squeeze(torch.unsqueeze(_3, 0)), -1)";
    let graph = parsed(body, "x");
    let bucket = estimate("inf1", &graph, &[&[1, 8, 20]]);
    assert_eq!(flops(&bucket, "aten::softmax"), Some(5 * 3 * 8 * 5));
}

#[test]
fn what_is_not_known_stays_so_and_is_counted() {
    let graph = parsed(
        "_0 = torch.relu(torch.mystery(x))\nreturn torch.add(_0, torch.relu6(y))",
        "x y",
    );
    let bucket = estimate("inf2", &graph, &[&[4]]);
    for operator in ["aten::mystery", "aten::relu", "aten::add", "aten::relu6"] {
        assert_eq!(flops(&bucket, operator), None, "{operator}");
    }
    assert_eq!(bucket.totals.flops_unknown, 4);
    assert_eq!(bucket.totals.flops.percent, None);
    let row = &bucket
        .operators
        .iter()
        .find(|row| row.operator == "aten::mystery");
    assert_eq!(row.unwrap().place, OperatorPlace::NotKnown);
    assert_eq!(bucket.totals.operators.not_known, 2);
}

#[test]
fn what_may_not_run_has_no_known_cost() {
    let body = "if bool(torch.any(x)):\n  y = torch.exp(x)\nelse:\n  y = torch.tanh(x)\n\
                return torch.add(y, torch.neg(x))";
    let bucket = estimate("inf2", &parsed(body, "x"), &[&[4]]);
    assert_eq!(flops(&bucket, "aten::neg"), Some(4));
    for operator in ["aten::exp", "aten::tanh", "aten::add"] {
        assert_eq!(flops(&bucket, operator), None, "{operator}");
    }
}

#[test]
fn the_chip_gets_all_of_a_sub_graph_but_its_joining_entry() {
    let body = "_0 = torch.add(torch.embedding(w, x), torch.embedding(v, y))\n\
                _1 = torch.add(torch.layer_norm(_0, [4]), torch.mul(m, 2.))\n\
                return torch.tanh(torch.relu(_1))";
    let bucket = estimate("inf1", &parsed(body, "w v x y m"), &[]);
    let host: Vec<(&str, usize)> = bucket
        .operators
        .iter()
        .filter(|row| row.place == OperatorPlace::Host)
        .map(|row| (row.operator.as_str(), row.count))
        .collect();
    assert_eq!(host, [("aten::embedding", 2), ("aten::add", 1)]);
    assert_eq!(bucket.totals.operators.chip, 5);
}

#[test]
fn without_a_large_sub_graph_each_of_two_operators_is_compiled() {
    let body = "_0 = torch.gather(torch.relu(torch.tanh(x)), 1, i)\n\
                _1 = torch.gather(torch.exp(torch.relu(_0)), 1, i)\n\
                return torch.gather(torch.neg(_1), 1, i)";
    let bucket = estimate("inf1", &parsed(body, "x i"), &[]);
    let row = |operator: &str| {
        let row = bucket.operators.iter().find(|row| row.operator == operator);
        row.unwrap().clone()
    };
    assert_eq!(row("aten::tanh").place, OperatorPlace::Chip);
    assert_eq!(row("aten::exp").place, OperatorPlace::Chip);
    let small = row("aten::neg");
    assert_eq!(
        (small.state, small.place),
        (OperatorSupport::Supported, OperatorPlace::Host)
    );
    assert!(small.reason.unwrap().contains("too small"));
}

#[test]
fn fused_attention_written_out_costs_what_its_parts_cost() {
    let body = "return torch.scaled_dot_product_attention(q, k, v, m)";
    let graph = parsed(body, "q k v m");
    let shapes: [&[usize]; 4] = [&[1, 2, 8, 4], &[1, 2, 8, 4], &[1, 2, 8, 4], &[1, 1, 1, 8]];
    let fused = estimate("inf2", &graph, &shapes);
    let (explicit, count) = attention::explicit(&graph);
    let explicit = estimate("inf1", &explicit, &shapes);
    assert_eq!((count, explicit.totals.operators.chip), (1, 6));
    assert_eq!(explicit.totals.flops.all(), fused.totals.flops.all());
    assert_eq!(
        fused.totals.flops.all(),
        2 * (2 * 2 * 8 * 8 * 4) + 6 * 2 * 8 * 8 + 2 * 8 * 4
    );
}

#[test]
fn modules_are_followed_as_often_as_they_are_called() {
    let code = "class Twice(Module):\n  inner : __torch__.Inner\n  def forward(self: __torch__.Twice,\n    \
                x: Tensor) -> Tensor:\n    inner = self.inner\n    _0 = (inner).forward(x, )\n    return \
                (getattr(self, \"inner\")).forward(_0, )\nclass Inner(Module):\n  __parameters__ = \
                [\"weight\", ]\n  weight : Tensor\n  def forward(self: __torch__.Inner, x: Tensor) -> \
                Tensor:\n    return torch.mul(x, self.weight)\n";
    let graph = TracedGraph::parse(code).unwrap();
    assert_eq!(graph.operators().count(), 2);
    assert_eq!(graph.calls[0].arguments.len(), 2);
}

#[test]
fn code_that_never_ends_is_refused() {
    let code = "class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    return \
                (self).forward((self).forward(x, ), )\n";
    let error = TracedGraph::parse(code).unwrap_err().to_string();
    assert!(error.contains("not understood"), "{error}");
    let list = "a = [x, x]\n".repeat(2) + &"a = [a, a]\n".repeat(40) + "return a";
    let code = list.replace('\n', "\n    ");
    let code = format!("class M(Module):\n  def forward(self, x: Tensor) -> Tensor:\n    {code}\n");
    assert!(TracedGraph::parse(&code).is_err());
}

const SAMPLE: &str = r#"class M(Module):
  __parameters__ = ["weight", ]
  weight : Tensor
  __annotations__["0"] = __torch__.M
  def forward(self: __torch__.M,
    x: Tensor,
    y: Optional[Tensor]=None) -> Tuple[Tensor, Tensor]:
    _0 = torch.linear(x, self.weight, bias=None)
    _1, _2, = torch.chunk(_0, 2, -1)
    n = int(ops.prim.NumToTensor(torch.size(_1, 1)))
    _3 = torch.view(_2, [1, n, 4, -1])
    if torch.__is__(y, None):
      _4 = annotate(List[int], [1, 2])
    else:
      _4 = [torch.add(n, 9223372036854775807), -1]
    for i in range(n):
      _3 = torch.add_(_3, CONSTANTS.c0, alpha=i)
    _5 = torch.slice(torch.reshape(_3, _4), 0, 0, 9223372036854775807, 1)
    _6 = torch.scaled_dot_product_attention(x, x, x, None)
    _7 = torch.arange(n, dtype=4, device=torch.device("cpu"))
    _8 = torch._convolution(x, self.weight, None, [1], [0], [1], False, [0], 1)
    _9 = torch.cat([_1, _2, torch.repeat(_5, [2, 3])], 1)
    _10 = torch.sum(torch.constant_pad_nd(x, [1, -1]), [-1], True, dtype=None)
    return (_6, torch.embedding(self.weight, torch.select(_7, 0, 1)), _8, _9, _10)
"#;

/// One change of the sample: what is replaced, and by what.
fn mutation() -> impl Strategy<Value = (usize, usize, String)> {
    let piece = prop_oneof![
        "[-(),.:\\[\\]{}=\" \n0-9a-z_]{0,8}",
        Just("9223372036854775807".to_owned()),
        Just("-1".to_owned()),
        Just("(((((".to_owned()),
        Just("    ".to_owned()),
        Just("[]".to_owned()),
    ];
    (0..SAMPLE.len(), 0usize..12, piece)
}

proptest! {
    #[test]
    fn mutated_code_does_not_panic(changes in prop::collection::vec(mutation(), 0..6), size in 0usize..9) {
        let mut code = SAMPLE.to_owned();
        for (at, length, text) in changes {
            let start = at.min(code.len());
            let end = (start + length).min(code.len());
            code.replace_range(start..end, &text);
        }
        if let Ok(graph) = TracedGraph::parse(&code) {
            for chip in ["inf1", "inf2"] {
                let (explicit, _) = attention::explicit(&graph);
                let shapes: [&[usize]; 2] = [&[1, size, size], &[usize::MAX, size]];
                let all = estimate(chip, &explicit, &shapes).totals.operators.all();
                prop_assert_eq!(all, explicit.operators().count() as u64);
            }
        }
    }
}
