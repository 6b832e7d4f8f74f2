"""torch_neuronx.analyze."""

import importlib.metadata
import logging
from collections import Counter

import torch
from neuron_double import faults, interface
from torch_neuronx.lowering import fallbacks, lower

logger = logging.getLogger("Neuron")

# What the double of the compiler refuses, as aten operators.
REFUSED = {"aten::sort", "aten::topk", "aten::complex", "aten::polar", "aten::triangular_solve", "aten::linalg_solve_triangular"}
SKIPPED = {"aten::to", "aten::copy", "aten::copy_", "aten::clone", "aten::contiguous"}


def analyze(
    func,
    example_inputs,
    compiler_workdir=None,
    *,
    additional_ignored_ops=frozenset(),
    max_workers=4,
    is_hf_transformers=False,
    cleanup=False,
):
    """The counts are those of the graph; what is refused is what torch-xla cannot lower and what the compiler's double refuses."""
    inputs = interface.as_tuple(example_inputs)
    traced = torch.jit.trace(func, inputs, strict=False, check_trace=False)
    graph = traced.graph.copy() if isinstance(traced, torch.jit.ScriptFunction) else traced.inlined_graph
    torch._C._jit_pass_inline(graph)
    nodes = [node for node in graph.nodes() if counted(node.kind(), additional_ignored_ops)]
    no_lowering = find_fallbacks(func, inputs)
    nothing = faults.compile_fault(faults.shape_of(inputs))[0] == "nothing-compiled"
    supported, unsupported = Counter(), []
    for node in nodes:
        kind = node.kind()
        at = None
        if kind in no_lowering or kind.rstrip("_") in no_lowering:
            at = "Lowering to HLO"
        elif nothing or kind in REFUSED or kind.startswith("aten::fft_"):
            at = "neuronx-cc"
        if at is None:
            supported[kind] += 1
        else:
            unsupported.append({"kind": kind, "failureAt": at, "call": node.sourceRange(), "opGraph": str(node)})
    log(supported, unsupported)
    count = sum(supported.values())
    return {
        "torch_neuronx_version": importlib.metadata.version("torch-neuronx"),
        "neuronx_cc_version": f"{importlib.metadata.version('neuronx-cc')}+double",
        "support_percentage": f"{100 * count / max(1, count + len(unsupported)):.2f}%",
        "supported_operators": dict(supported),
        "unsupported_operators": unsupported,
    }


def counted(kind, ignored):
    return kind.startswith("aten::") and kind not in SKIPPED and kind not in ignored


def find_fallbacks(func, inputs):
    before = fallbacks()
    try:
        lower(func, inputs)
    except RuntimeError as error:
        if "Lowering to HLO failed" not in str(error):
            raise
    return {name for name, count in fallbacks().items() if count != before.get(name, 0)}


def log(supported, unsupported):
    count = sum(supported.values())
    total = count + len(unsupported)
    logger.info("Analyzing Operator Support...")
    logger.info("The following operations are currently supported:")
    for kind in supported:
        logger.info(kind)
    logger.info("The following operations are currently not supported:")
    for entry in unsupported:
        logger.info(f"{entry['kind']}, {entry['call']}")
    logger.info(f"{100 * count / max(1, total):.2f}% of arithmetic operations ({count} of {total}) are supported")
