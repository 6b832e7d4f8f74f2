//! The HLO operators that the operators of torch become on their way through torch-xla.
//!
//! For compilers whose list of aten operators is not complete, their list of HLO operators decides.
//! The table holds what each operator needs at least, by the names of neuronc's HLO lists; the
//! exact form depends on versions and arguments. An operator that is not here is not known.

/// Operators of torch that become the same HLO operators, and those.
const LOWERINGS: &[(&[&str], &[&str])] = &[
    // Sizes and numbers are constants of the trace.
    (
        &[
            "Bool",
            "Float",
            "Int",
            "ScalarImplicit",
            "dim",
            "len",
            "numel",
            "size",
        ],
        &[],
    ),
    // At inference they return what they are given.
    (
        &[
            "alias",
            "contiguous",
            "detach",
            "dropout",
            "feature_dropout",
        ],
        &[],
    ),
    (&["to", "type_as"], &["ConvertElementType"]),
    (
        &[
            "view",
            "reshape",
            "_unsafe_view",
            "flatten",
            "squeeze",
            "unsqueeze",
        ],
        &["Reshape"],
    ),
    (
        &["expand", "expand_as", "broadcast_to", "repeat"],
        &["Broadcast", "Reshape"],
    ),
    (&["transpose", "permute", "t"], &["Transpose"]),
    (&["select"], &["Slice", "Reshape"]),
    (
        &["slice", "narrow", "split", "split_with_sizes", "chunk"],
        &["Slice"],
    ),
    (&["unbind"], &["Slice", "Reshape"]),
    (&["cat"], &["Concatenate"]),
    (&["stack"], &["Reshape", "Concatenate"]),
    (&["constant_pad_nd"], &["Pad"]),
    (&["flip"], &["Rev"]),
    (&["arange"], &["Iota"]),
    (
        &[
            "zeros",
            "ones",
            "full",
            "zeros_like",
            "ones_like",
            "full_like",
            "new_zeros",
            "new_ones",
        ],
        &["Constant", "Broadcast"],
    ),
    (&["embedding", "index_select", "gather"], &["Gather"]),
    (&["index"], &["Gather"]),
    (&["scatter", "index_put"], &["Scatter"]),
    (&["masked_fill", "where"], &["Broadcast", "Select"]),
    (&["tril", "triu"], &["Iota", "Ge", "Select"]),
    (&["add"], &["Add", "Broadcast"]),
    (&["sub", "rsub"], &["Sub", "Broadcast"]),
    (&["mul"], &["Mul", "Broadcast"]),
    (&["div", "true_divide", "reciprocal"], &["Div", "Broadcast"]),
    (&["floor_divide"], &["Div", "Floor", "Broadcast"]),
    (&["pow"], &["Pow", "Broadcast"]),
    (&["neg"], &["Neg"]),
    (&["abs"], &["Abs"]),
    (&["sign"], &["Sign"]),
    (&["sqrt"], &["Sqrt"]),
    (&["rsqrt"], &["Rsqrt"]),
    (&["exp"], &["Exp"]),
    (&["log"], &["Log"]),
    (&["sin"], &["Sin"]),
    (&["cos"], &["Cos"]),
    (&["tanh"], &["Tanh"]),
    (&["floor"], &["Floor"]),
    (&["ceil"], &["Ceil"]),
    // Both are operators of HLO in the releases that torch-xla is built with.
    (&["erf", "gelu"], &["Erf", "Mul"]),
    (&["sigmoid"], &["Neg", "Exp", "Add", "Div"]),
    (&["silu"], &["Neg", "Exp", "Add", "Div", "Mul"]),
    (&["relu", "clamp_min"], &["Max"]),
    (&["clamp_max"], &["Min"]),
    (&["clamp", "hardtanh", "clip"], &["Clamp"]),
    (&["leaky_relu"], &["Gt", "Mul", "Select"]),
    (&["maximum"], &["Max"]),
    (&["minimum"], &["Min"]),
    (&["eq"], &["Eq"]),
    (&["ne"], &["Ne"]),
    (&["lt"], &["Lt"]),
    (&["le"], &["Le"]),
    (&["gt"], &["Gt"]),
    (&["ge"], &["Ge"]),
    (&["logical_and", "__and__", "bitwise_and"], &["LogicalAnd"]),
    (&["logical_not", "bitwise_not"], &["LogicalNot"]),
    (&["sum", "amax", "amin", "any", "all"], &["Reduce"]),
    (&["mean"], &["Reduce", "Div"]),
    (&["cumsum"], &["ReduceWindow"]),
    (&["norm", "linalg_vector_norm"], &["Mul", "Reduce", "Sqrt"]),
    (
        &["softmax", "_softmax"],
        &["Reduce", "Broadcast", "Sub", "Exp", "Div"],
    ),
    (
        &["log_softmax", "_log_softmax"],
        &["Reduce", "Broadcast", "Sub", "Exp", "Log"],
    ),
    (
        &["layer_norm", "group_norm"],
        &["Reduce", "Broadcast", "Sub", "Mul", "Rsqrt", "Add"],
    ),
    (&["batch_norm"], &["Batchnorminference"]),
    (&["mm", "mv", "dot"], &["Dot"]),
    (&["matmul", "bmm"], &["DotGeneral"]),
    (&["linear"], &["Transpose", "Dot", "Broadcast", "Add"]),
    (&["addmm"], &["Dot", "Broadcast", "Add"]),
    (&["baddbmm"], &["DotGeneral", "Add"]),
    (
        &["scaled_dot_product_attention"],
        &[
            "Mul",
            "DotGeneral",
            "Add",
            "Reduce",
            "Broadcast",
            "Sub",
            "Exp",
            "Div",
        ],
    ),
    (
        &["_convolution", "convolution", "conv1d", "conv2d", "conv3d"],
        &["Convolution"],
    ),
    (&["max_pool2d", "avg_pool2d"], &["ReduceWindow"]),
    (&["topk", "argsort"], &["Sort"]),
];

/// The HLO operators that `operator` becomes; an empty list for one that needs none.
pub(super) fn of(operator: &str) -> Option<&'static [&'static str]> {
    let name = operator.strip_prefix("aten::")?;
    let row = LOWERINGS.iter().find(|(names, _)| names.contains(&name))?;
    Some(row.1)
}
