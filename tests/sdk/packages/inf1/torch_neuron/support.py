"""Which operators torch-neuron takes, and the analysis of a model by that list."""

import logging
import pathlib
from collections import Counter, OrderedDict

from neuron_double import interface
from torch_neuron.graph import Graph

logger = logging.getLogger("Neuron")

# The list is profiles/operators/inf1.txt, which make_environment.py puts here: name, yes, limited or no, a note.
PRIMITIVES = ["prim::Constant", "prim::GetAttr", "prim::ListConstruct", "prim::ListUnpack", "prim::NumToTensor"]
PRIMITIVES += ["prim::TupleConstruct", "prim::TupleUnpack"]


def get_supported_operations():
    lines = (pathlib.Path(__file__).parent / "operators.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [row[0] for row in rows if row[1] != "no"] + PRIMITIVES


def supports(kind, operations):
    """An operator that works in place is also looked up without the underscore."""
    return kind in operations or kind.rstrip("_") in operations


def analyze_model(func, example_inputs):
    operations = set(get_supported_operations())
    graph = Graph(func, interface.as_tuple(example_inputs), {})
    kinds = [node.kind() for node in graph.nodes]
    arithmetic = [kind for kind in kinds if kind.startswith("aten::")]
    good = [kind for kind in kinds if supports(kind, operations)]
    good_arithmetic = [kind for kind in arithmetic if supports(kind, operations)]
    unsupported = sorted(set(kinds) - set(good))
    logger.info("The following operations are currently supported in torch-neuron for this model:")
    for kind in dict.fromkeys(good):
        logger.info(kind)
    if unsupported:
        logger.info("The following operations are currently not supported in torch-neuron for this model:")
        for kind in unsupported:
            logger.info(kind)
    percent = 100 * len(good) / len(kinds)
    percent_arithmetic = 100 * len(good_arithmetic) / max(1, len(arithmetic))
    logger.info(f"{percent:.2f}% of all operations (including primitives) ({len(good)} of {len(kinds)}) are supported")
    counts = f"({len(good_arithmetic)} of {len(arithmetic)})"
    logger.info(f"{percent_arithmetic:.2f}% of arithmetic operations {counts} are supported")
    return OrderedDict(
        percent_supported=round(percent, 2),
        percent_supported_arithmetic=round(percent_arithmetic, 2),
        supported_count=len(good),
        total_count=len(kinds),
        supported_count_arithmetic=len(good_arithmetic),
        total_count_arithmetic=len(arithmetic),
        supported_operators=set(good),
        unsupported_operators=unsupported,
        operators=sorted(set(kinds)),
        operator_count=OrderedDict(sorted(Counter(kinds).items())),
    )
