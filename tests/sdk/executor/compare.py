"""Compares graphs of the executor with transformers itself: `python compare.py LIST`, in a fresh interpreter.

LIST is a JSON list of {model, task, inputs, pad_id, folder, files, rows}. Nothing of the executor is imported:
weights are read by the safetensors package, graphs by torch.jit.load, and the model runs as transformers loads it
by default. Prints a JSON object with what was found for each model.
"""

import json
import os
import re
import sys

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

AUTO = {
    "feature-extraction": transformers.AutoModel,
    "question-answering": transformers.AutoModelForQuestionAnswering,
    "text-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
    "fill-mask": transformers.AutoModelForMaskedLM,
}


def expected(case, model, row):
    """What transformers says about a row, alone and without padding."""
    arguments = {"input_ids": torch.tensor([row["ids"]])}
    if "attention_mask" in case["inputs"]:
        arguments["attention_mask"] = torch.ones(1, len(row["ids"]), dtype=torch.int64)
    if "token_type_ids" in case["inputs"]:
        arguments["token_type_ids"] = torch.tensor([row["type_ids"]])
    output = model(**arguments)
    if case["task"] == "feature-extraction":
        return torch.nn.functional.normalize(output.last_hidden_state[0].mean(dim=0), dim=0)
    if case["task"] == "question-answering":
        return torch.stack([output.start_logits[0], output.end_logits[0]], dim=-1)
    return output.logits[0, row["position"]] if case["task"] == "fill-mask" else output.logits[0]


def tensors(case, batch, sequence, row, slot):
    """The inputs of a bucket with the row in a slot and nothing but padding elsewhere."""
    found = []
    for name in case["inputs"]:
        if name == "position":
            values = torch.zeros(batch, dtype=torch.int64)
            values[slot] = row["position"]
        else:
            line = {"input_ids": row["ids"], "attention_mask": [1] * len(row["ids"])}.get(name, row["type_ids"])
            values = torch.full((batch, sequence), case["pad_id"] if name == "input_ids" else 0)
            values[slot, : len(line)] = torch.tensor(line)
        found.append(values)
    return found


def difference(found, wanted):
    """In parts of the largest number."""
    if found.shape != wanted.shape:
        return "{} and not {}".format(list(found.shape), list(wanted.shape))
    return ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0)).item()


def check(case):
    model = AUTO[case["task"]].from_pretrained(case["model"], local_files_only=True).eval()
    if model.config.pad_token_id is None:
        model.config.pad_token_id = case["pad_id"]
    weights = load_file(os.path.join(case["folder"], "weights.safetensors"))
    references = load_file(os.path.join(case["folder"], "reference.safetensors"))
    with safe_open(os.path.join(case["folder"], "weights.safetensors"), "pt") as file:
        assert set(file.keys()) == set(case["names"]), "the event names other weights than the file holds"
    largest, devices = 0.0, set()
    wanted = [expected(case, model, row) for row in case["rows"]]
    for index, row in enumerate(case["rows"]):
        flat = wanted[index].reshape(-1)
        stride = max(1, -(-flat.numel() // 4096))
        largest = worst(largest, difference(references[str(index)], flat[::stride]))
    for batch, sequence, file, contained in case["files"]:
        graph = torch.jit.load(os.path.join(case["folder"], file))
        whole = torch.jit.load(os.path.join(case["folder"], contained))
        devices |= set(re.findall(r'device="?(\w+)', str(graph.inlined_graph)))
        assert "PythonOp" not in str(graph.inlined_graph) and not list(graph.parameters()) + list(graph.buffers())
        for index, row in enumerate(case["rows"]):
            slot = index % batch
            given = tensors(case, batch, sequence, row, slot)
            for output in (graph(*[weights[name] for name in case["names"]], *given), whole(*given)):
                assert output.dtype == torch.float32 and output.shape[0] == batch
                found = output[slot]
                if case["task"] in ("question-answering", "token-classification"):
                    found = found[: len(row["ids"])]
                largest = worst(largest, difference(found, wanted[index]))
    # Each parameter of the model that has a name in the file, by its place in memory: a tied weight comes once.
    places = {tensor.data_ptr(): name for name, tensor in model.state_dict().items()}
    stored = [name for name in case["names"] if name in places.values()]
    twice = len(stored) - len({model.state_dict()[name].data_ptr() for name in stored})
    return {"difference": largest, "devices": sorted(devices), "twice": twice}


def worst(one, other):
    if isinstance(one, str) or isinstance(other, str):
        return one if isinstance(one, str) else other
    return max(one, other) if other == other else "not a number"


def main(path):
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    with torch.no_grad():
        print(json.dumps({os.path.basename(case["model"]): check(case) for case in cases}))


if __name__ == "__main__":
    main(sys.argv[1])
