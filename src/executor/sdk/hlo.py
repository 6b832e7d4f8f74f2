"""Counts the operators of HLO as text, by the names of the compiler's own list.

That list (profiles/operators/inf2-xla.txt) names operators as XLA's builder does, which differs from the opcodes
in places. An opcode without a name there keeps its own, in the same style.
"""

import re

_NAMES = {
    "all-gather": "Allgather",
    "all-reduce": "Allreduce",
    "and": "LogicalAnd",
    "batch-norm-grad": "Batchnormgrad",
    "batch-norm-inference": "Batchnorminference",
    "batch-norm-training": "Batchnorm",
    "bitcast-convert": "BitcastConvertType",
    "convert": "ConvertElementType",
    "cosine": "Cos",
    "custom-call": "Customcall",
    "divide": "Div",
    "exponential": "Exp",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "negate": "Neg",
    "not": "LogicalNot",
    "or": "LogicalOr",
    "power": "Pow",
    "reverse": "Rev",
    "rng": "RngUniform",
    "sine": "Sin",
    "subtract": "Sub",
}

# What a computation is handed is no operator.
_NOT_OPERATORS = ("parameter",)

# `%name = type opcode(operands), attributes`; the type is a shape or a tuple of shapes.
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.-]+ = (?:\((?:[^()]|\([^()]*\))*\)|\S+) ([a-z][a-z0-9-]*)\((.*)$")


def count(text):
    """The operators of all computations of an HLO module, by name."""
    counts = {}
    for line in text.splitlines():
        found = _INSTRUCTION.match(line)
        if found is None or found.group(1) in _NOT_OPERATORS:
            continue
        name = _name(found.group(1), found.group(2))
        counts[name] = counts.get(name, 0) + 1
    return counts


def _name(opcode, rest):
    if opcode == "compare":
        direction = re.search(r"\bdirection=([A-Z]{2})\b", rest)
        return direction.group(1).capitalize() if direction else "Compare"
    if opcode == "dot":
        return "DotGeneral" if re.search(r"\blhs_batch_dims=\{\d", rest) else "Dot"
    return _NAMES.get(opcode) or "".join(part.capitalize() for part in opcode.split("-"))
