"""The environments that the tests were given, and what they make once for all of them."""

import atexit
import pathlib
import shutil
import tempfile
import unittest

import jobs

_environments = {}
_made = {}
_scratch = None

TASKS = ("feature-extraction", "question-answering", "text-classification", "token-classification", "fill-mask")


def use(**folders):
    """Tells the tests which environments there are."""
    for name, folder in folders.items():
        if folder:
            _environments[name] = jobs.Environment(folder)


def environment(name):
    """The environment of that name; the test is skipped where it was not given."""
    if name not in _environments:
        raise unittest.SkipTest("needs an environment: --{} ENV".format(name))
    found = _environments[name]
    found.set_faults()
    return found


def scratch(*parts):
    """A folder that goes when the tests are done."""
    global _scratch
    if _scratch is None:
        _scratch = pathlib.Path(tempfile.mkdtemp(prefix="neuronc-executor-"))
        atexit.register(shutil.rmtree, str(_scratch), ignore_errors=True)
    folder = _scratch.joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def models(name):
    """The folder of the models that the transformers of an environment makes, and their names."""
    key = ("models", name)
    if key not in _made:
        folder = scratch(name, "models")
        _made[key] = (folder, environment(name).script("make_models.py", folder))
    return _made[key]


def task_of(model):
    return next(task for task in TASKS if model.endswith(task))


def head_of(model):
    """The head of a model of make_models.py; embeddings are pooled and scaled."""
    task = task_of(model)
    head = {"task": task}
    if task == "feature-extraction":
        head.update(pooling="mean", normalize=True)
    elif task.endswith("classification"):
        head.update(labels=["no", "maybe", "yes"])
        if task == "text-classification":
            head.update(scores="softmax")
    elif task == "fill-mask":
        head.update(tied=True)
    return head


def output_of(task):
    """What neuronc's plan knows of the output of a model of make_models.py for a task."""
    per = "token" if task in ("question-answering", "token-classification") else "sample"
    width = 2 if task == "question-answering" else 3 if task.endswith("classification") else None
    return {"per": per, "width": width, "dtype": "f32"}


def transformers_module(name, model, attention="explicit"):
    folder, _ = models(name)
    return {
        "module": "transformers",
        "folder": str(folder / model),
        "head": head_of(model),
        "attention": attention,
    }


# Others than the executor traces with, of several lengths; none has an id that a model takes for padding.
ROWS = [
    {"ids": [5, 6, 7, 8, 9], "type_ids": [0, 0, 0, 1, 1], "position": 2},
    {"ids": list(range(40, 54)), "type_ids": [0] * 7 + [1] * 7, "position": 11},
    {"ids": [77], "type_ids": [0], "position": 0},
]


def traced(name, model):
    """The result of tracing a model in an environment: the description, the names of its weights and its folder."""
    key = ("traced", name, model)
    if key not in _made:
        made_by = environment(name)
        module = transformers_module(name, model)
        described = made_by.run("describe", {"folder": module["folder"], "head": module["head"]})
        if described.last["event"] != "done":
            raise AssertionError("{}: {}\n{}".format(model, described.last, described.log))
        (description,) = described.of("described")
        folder = scratch(name, "traced", model)
        job = trace_job(module, description, output_of(task_of(model)), folder)
        result = made_by.run("trace", job)
        if result.last["event"] != "done":
            raise AssertionError("{}: {}\n{}".format(model, result.last, result.log))
        _made[key] = (description, result, folder)
    return _made[key]


BUCKETS = [(1, 16), (3, 24)]


def trace_job(module, description, output, folder):
    """The job that traces every bucket of a module into a folder."""
    return {
        "module": module,
        "inputs": description["inputs"],
        "pad_id": description["pad_id"],
        "output": output,
        "graphs": [
            {
                "bucket": {"sequence": sequence, "batch": batch},
                "file": "graphs/b{}_s{}.pt".format(batch, sequence),
                "self_contained": "self-contained/b{}_s{}.pt".format(batch, sequence),
            }
            for batch, sequence in BUCKETS
        ],
        "references": ROWS,
        "folder": str(folder),
    }


def graph_module(name, model, batch, sequence):
    """A module of a graph that `traced` has made."""
    _, result, folder = traced(name, model)
    (weights,) = result.of("weights")
    return {
        "module": "graph",
        "file": str(folder / "graphs" / "b{}_s{}.pt".format(batch, sequence)),
        "weights": str(folder / "weights.safetensors"),
        "weight_names": weights["names"],
    }


def torchscript_module(name, model, batch, sequence):
    """A module of a TorchScript file that `traced` has made."""
    _, _, folder = traced(name, model)
    file = folder / "self-contained" / "b{}_s{}.pt".format(batch, sequence)
    return {"module": "torchscript", "file": str(file), "head": head_of(model)}
