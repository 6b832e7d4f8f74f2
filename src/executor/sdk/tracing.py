"""`trace`: graphs of a model of transformers, or of a TorchScript file, that take weights and buffers as inputs, as
those of neuronc-torch do."""

import contextlib
import os
import time

import torch

import failures
import inputs as rows_of
import layouts
import modules
import safetensors_file

# Named as in neuronc's `executor::job`.
WEIGHTS_FILE = "weights.safetensors"
REFERENCE_FILE = "reference.safetensors"
REFERENCE_VALUES_MAX = 4096

# The largest difference between a graph and its module, in parts of the largest output: both run the same operators.
_DIFFERENCE_MAX = 1e-5

# What stands for a type that neuronc's files do not hold.
_STORED_AS = {torch.bool: torch.uint8, torch.int8: torch.int32, torch.int16: torch.int32}


def run(job, events):
    """Writes reference outputs, weights and graphs into the job's folder."""
    spec, pad_id, folder = job["module"], job["pad_id"], job["folder"]
    if spec.get("module") == "graph":
        raise failures.JobError(failures.INPUT, "a graph of neuronc is not traced again")
    with torch.no_grad():
        loaded = modules.load(spec, job["inputs"], pad_id)
        if loaded.vocabulary is None:
            # Of a TorchScript file nothing is known but that it takes what its tokenizer gives.
            loaded.vocabulary = 1 + max((max(row["ids"]) for row in job["references"]), default=0)
        task = _Task(loaded, job)
        buckets = [graph["bucket"] for graph in job["graphs"]]
        count = _write_references(task, job["references"], buckets, os.path.join(folder, REFERENCE_FILE))
        events.send("references", rows=count, output=task.output.found())
        if not job["graphs"]:
            return
        weights = _used_weights(task, _smallest(job["graphs"]))
        path = os.path.join(folder, WEIGHTS_FILE)
        size = safetensors_file.write(path, [(weight.name, weight.stored()) for weight in weights])
        events.send("weights", bytes=size, names=[weight.name for weight in weights])
        for graph in job["graphs"]:
            start = time.monotonic()
            _write_graph(task, graph, weights, path, folder)
            events.send("graph", bucket=graph["bucket"], millis=int((time.monotonic() - start) * 1000))


class _Task:
    """A loaded module with what its inputs and its output look like."""

    def __init__(self, loaded, job):
        self.loaded = loaded
        self.module = loaded.module
        self.output = layouts.OutputLayout(job["output"], job["module"]["head"])
        self._inputs = job["inputs"]
        self._pad_id = job["pad_id"]

    def tensors(self, bucket, rows):
        return rows_of.fill(bucket, rows, self._inputs, self._pad_id)

    def examples(self, bucket, seed):
        """Inputs for tracing and for checking: each seed gives others."""
        loaded = self.loaded
        return self.tensors(
            bucket, rows_of.examples(bucket, seed, loaded.vocabulary, loaded.segments, avoid=self._pad_id)
        )


class Weight:
    """A parameter or buffer: one input of every graph, whatever number of places it has in the module."""

    def __init__(self, slot):
        self.name = slot.name
        self.tensor = slot.tensor
        self.slots = [slot]

    def stored(self):
        """The tensor in a type that neuronc's files hold."""
        kind = self.tensor.dtype
        stored = self.tensor if safetensors_file.holds(kind) else None
        if stored is None and kind in _STORED_AS:
            stored = self.tensor.to(_STORED_AS[kind])
        if stored is None:
            raise failures.JobError(
                failures.INPUT, "weight `{}` is of {}, which a bundle does not hold".format(self.name, kind)
            )
        return stored

    def as_used(self, stored):
        """The tensor as the module expects it; a traced graph does the same."""
        return stored if stored.dtype == self.tensor.dtype else stored.to(self.tensor.dtype)


def weights_of(module):
    """Every weight of the model in a module, each once, by the names that transformers gives them."""
    found = {}
    for slot in modules.slots(module.model):
        if id(slot.tensor) in found:
            found[id(slot.tensor)].slots.append(slot)
        else:
            found[id(slot.tensor)] = Weight(slot)
    return list(found.values())


class Graph(torch.nn.Module):
    """What is traced: takes the weights and then the inputs, and owns nothing."""

    def __init__(self, module, weights):
        super().__init__()
        # Out of sight of PyTorch, which would save the module's weights with the graph.
        self.__dict__["_hidden"] = (module, weights)
        # A script that is called has to be a part of what is traced. One of ours takes its weights as inputs.
        scripts = [each for each in module.modules() if isinstance(each, torch.jit.ScriptModule)]
        self.scripts = torch.nn.ModuleList(scripts)

    def forward(self, *tensors):
        module, weights = self.__dict__["_hidden"]
        count = len(weights)
        with _replaced(weights, tensors[:count]):
            return module(*tensors[count:])


@contextlib.contextmanager
def _replaced(weights, tensors):
    """Puts `tensors` in the place of the weights of a module for as long as it lasts."""
    try:
        for weight, tensor in zip(weights, tensors):
            used = weight.as_used(tensor)
            for slot in weight.slots:
                slot.put(used)
        yield
    finally:
        for weight in weights:
            for slot in weight.slots:
                slot.put(weight.tensor)


def _trace(module, weights, stored, examples):
    tensors = tuple(stored) + tuple(examples)
    apart = {tensor.data_ptr() for tensor in tensors if tensor.numel()}
    if len(apart) != sum(1 for tensor in tensors if tensor.numel()):
        raise RuntimeError("two inputs share memory: the tracer would take them for one")
    return torch.jit.trace(Graph(module, weights), tensors, check_trace=False)


def _used_weights(task, bucket):
    """The weights that an output depends on; a pooler that no head uses is none."""
    weights = weights_of(task.module)
    stored = [weight.stored().clone() for weight in weights]
    graph = _trace(task.module, weights, stored, task.examples(bucket, 0)).inlined_graph
    torch._C._jit_pass_dce(graph)
    # The first input is the module itself.
    values = list(graph.inputs())[1:]
    return [weight for weight, value in zip(weights, values) if list(value.uses())]


def _write_graph(task, graph, weights, weights_path, folder):
    bucket = graph["bucket"]
    stored = list(safetensors_file.read(weights_path, [weight.name for weight in weights]).values())
    path = _inside(folder, graph["file"])
    _trace(task.module, weights, stored, task.examples(bucket, 0)).save(path)
    others = task.examples(bucket, 1)
    expected = task.module(*others)
    task.output.check(expected, bucket)
    _check(bucket, expected, torch.jit.load(path)(*stored, *others))
    if graph.get("self_contained"):
        path = _inside(folder, graph["self_contained"])
        torch.jit.trace(task.module, tuple(task.examples(bucket, 0)), check_trace=False).save(path)
        _check(bucket, expected, torch.jit.load(path)(*others))


def _check(bucket, expected, found):
    """Compares a graph with the module, on inputs other than those it was traced with."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise RuntimeError("the graph of bucket {} returns another shape than its module".format(_name(bucket)))
    # A row of nothing but padding may be NaN in some models, and nobody asks for it.
    known = torch.isfinite(expected)
    largest = expected[known].abs().max().item() if bool(known.any()) else 0.0
    bound = _DIFFERENCE_MAX * max(largest, 1.0)
    if not torch.allclose(found, expected, rtol=0.0, atol=bound, equal_nan=True):
        difference = (found - expected)[known].abs().max().item()
        raise RuntimeError(
            "the graph of bucket {} does not compute what its module does: they differ by {:.2e}, at most {:.2e} is "
            "expected\nthe model decides by the content of its inputs, which a graph cannot".format(
                _name(bucket), difference, bound
            )
        )


def _write_references(task, rows, buckets, path):
    """Runs each row alone and without padding; returns their number."""
    outputs = []
    for index, row in enumerate(rows):
        output = _reference(task, row, buckets)
        task.loaded.check_finite(output)
        outputs.append((str(index), _sampled(output)))
    safetensors_file.write(path, outputs)
    return len(outputs)


def _reference(task, row, buckets):
    alone = rows_of.alone(row)
    try:
        output = task.module(*task.tensors(alone, [row]))
        task.output.check(output, alone)
        return output
    except RuntimeError:
        # A file that was traced for one shape takes no other: the row is padded to a bucket, and its part cut out.
        fitting = [bucket for bucket in buckets if rows_of.fits(row, bucket)]
        smallest = min(fitting, key=lambda bucket: bucket["batch"] * bucket["sequence"], default=None)
        if smallest is None:
            raise
    output = task.module(*task.tensors(smallest, [row]))
    task.output.check(output, smallest)
    return task.output.without_padding(output[:1], len(row["ids"]))


def _sampled(output):
    """Every so many values of an output that few enough are left."""
    values = output.to(torch.float32).reshape(-1)
    stride = max(1, -(-values.numel() // REFERENCE_VALUES_MAX))
    return values[::stride].contiguous()


def _smallest(graphs):
    return min((graph["bucket"] for graph in graphs), key=lambda bucket: bucket["batch"] * bucket["sequence"])


def _inside(folder, name):
    """The path of a file below the job's folder, which is made."""
    path = os.path.normpath(os.path.join(folder, name))
    if os.path.isabs(name) or not path.startswith(os.path.normpath(folder) + os.sep):
        raise failures.JobError(failures.INPUT, "`{}` does not lie inside the job's folder".format(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def _name(bucket):
    return "{}x{}".format(bucket["batch"], bucket["sequence"])
