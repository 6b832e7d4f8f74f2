"""The input tensors of a bucket, as neuronc's `bucket::fill` makes them."""

import torch

# Numbers without a common divisor with a vocabulary: the ids of an example differ from place to place.
_PLACE, _ROW, _SEED = 7919, 104729, 611953


def fill(bucket, rows, inputs, pad_id):
    """One int64 tensor for each of `inputs`, each with memory of its own; rows that are missing are all padding."""
    return [_tensor(name, bucket, rows, pad_id) for name in inputs]


def alone(row):
    """The bucket that holds a row and nothing else."""
    return {"sequence": len(row["ids"]), "batch": 1}


def fits(row, bucket):
    return len(row["ids"]) <= bucket["sequence"]


def examples(bucket, seed, vocabulary, segments, avoid):
    """Rows as texts would give them, of several lengths and segments; one row of the bucket is left to padding.

    Each seed gives others. The ids stay clear of `avoid`, which models may treat as padding wherever it is.
    """
    rows = []
    for row in range(max(bucket["batch"] - 1, 1)):
        length = bucket["sequence"] - (row + seed) * 3 % bucket["sequence"]
        numbers = [(place + 1) * _PLACE + (row + 1) * _ROW + seed * _SEED for place in range(length)]
        ids = [number % vocabulary for number in numbers]
        rows.append(
            {
                "ids": [(each + 1) % vocabulary if each == avoid else each for each in ids],
                "type_ids": [min(place * 2 // length, segments - 1) for place in range(length)],
                "position": numbers[0] % length,
            }
        )
    return rows


def _tensor(name, bucket, rows, pad_id):
    if name == "position":
        missing = [0] * (bucket["batch"] - len(rows))
        return torch.tensor([row.get("position") or 0 for row in rows] + missing, dtype=torch.int64)
    lines = [_line(name, row) for row in rows] + [[]] * (bucket["batch"] - len(rows))
    pad = pad_id if name == "input_ids" else 0
    return torch.tensor([line + [pad] * (bucket["sequence"] - len(line)) for line in lines], dtype=torch.int64)


def _line(name, row):
    if name == "input_ids":
        return list(row["ids"])
    if name == "attention_mask":
        return [1] * len(row["ids"])
    return list(row["type_ids"])
