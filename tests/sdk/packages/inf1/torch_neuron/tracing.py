"""torch_neuron.trace."""

import json
import logging
import os
import pathlib
import shutil
import subprocess
import tempfile
import traceback
import uuid
import warnings
from collections import Counter

import torch
from neuron_double import faults, interface
from torch.utils import _pytree as pytree
from torch_neuron.graph import Graph, Part, Values
from torch_neuron.partition import partition
from torch_neuron.support import get_supported_operations, supports

logger = logging.getLogger("Neuron")

LIST = "https://github.com/aws/aws-neuron-sdk/blob/master/release-notes/neuron-cc-ops/neuron-cc-ops-pytorch.md"
# What fits into the message that goes to the compiler. The fault file can lower it, as `limit_bytes`.
CONSTANT_BYTES_MAX = int(1.9 * 2**30)


def trace(
    func,
    example_inputs,
    fallback=True,
    op_whitelist=None,
    minimum_segment_size=2,
    subgraph_builder_function=None,
    subgraph_inputs_pruning=True,
    skip_compiler=False,
    debug_must_trace=False,
    allow_no_ops_on_neuron=False,
    compiler_workdir=None,
    dynamic_batch_size=False,
    compiler_timeout=None,
    _neuron_trace=True,
    compiler_args=None,
    optimizations=None,
    separate_weights=False,
    single_fusion_ratio_threshold=0.6,
    **kwargs,
):
    """Options that are not documented are accepted, for their names, and have no effect; those in `kwargs` are torch.jit.trace's."""
    if not callable(func):
        raise TypeError(f"func must be a torch.nn.Module or a callable, not {type(func).__name__}")
    inputs = interface.as_tuple(example_inputs)
    if not inputs or not all(isinstance(tensor, torch.Tensor) for tensor in inputs):
        raise TypeError("example_inputs must be a tensor or a tuple of tensors")
    if isinstance(func, torch.jit.ScriptModule):
        warnings.warn("The input to trace is already a ScriptModule, tracing it is a no-op. Returning the object as is.")
    if optimizations:
        from torch_neuron import Optimization

        if not all(isinstance(optimization, Optimization) for optimization in optimizations):
            raise TypeError("optimizations must be a list of torch_neuron.Optimization")
    arguments = [compiler_args] if isinstance(compiler_args, str) else list(compiler_args or [])
    arguments = [word for argument in arguments for word in str(argument).split()]
    if dynamic_batch_size:
        raise NotImplementedError("the double of torch-neuron has no dynamic batches")
    with torch.no_grad():
        graph = Graph(func, inputs, kwargs)
        supported = find_supported(graph, op_whitelist, subgraph_builder_function, fallback)
        groups = partition(graph, supported, minimum_segment_size, single_fusion_ratio_threshold)
        log_before(graph, supported, groups)
        job = Job(graph, inputs, compiler_workdir, arguments)
        job.timeout, job.separate_weights, job.half = compiler_timeout, separate_weights, bool(optimizations)
        compiled = [made for made in (job.compile(number, group) for number, group in enumerate(groups)) if made]
        log_after(graph, supported, groups, compiled)
        if not compiled:
            if not groups:
                logger.warning("No operator is placed on Neuron runtime; returning a CPU trace")
            if not allow_no_ops_on_neuron:
                raise RuntimeError(
                    "No operations were successfully partitioned and compiled to neuron for this model - aborting trace!"
                )
        return job.assemble(compiled)


def find_supported(graph, op_whitelist, subgraph_builder_function, fallback):
    operations = set(op_whitelist if op_whitelist is not None else get_supported_operations())
    chosen = subgraph_builder_function or (lambda node: True)
    supported = {at for at in graph.operators() if supports(graph.nodes[at].kind(), operations) and chosen(graph.nodes[at])}
    others = [graph.nodes[at].kind() for at in graph.operators() if at not in supported]
    if others and not fallback:
        raise AttributeError(f"{sorted(set(others))[0]} is not supported by torch-neuron, and fallback is False")
    return supported


def round_percent(part, whole):
    return round(100 * part / whole, 2) if whole else 0.0


def log_before(graph, supported, groups):
    total = len(graph.operators())
    others = [graph.nodes[at].kind() for at in graph.operators() if at not in supported]
    if others:
        names = "".join(f"{name}, " for name in sorted(set(others)))
        logger.info(
            f"There are {len(others)} ops of {len(set(others))} different types in the TorchScript that are not compiled by "
            f"neuron-cc: {names}(For more information see {LIST})"
        )
    else:
        logger.info(
            "All operators are compiled by neuron-cc (this does not guarantee that neuron-cc will successfully compile)"
        )
    fused = sum(map(len, groups))
    logger.info(
        f"Number of arithmetic operators (pre-compilation) before = {total}, fused = {fused}, "
        f"percent fused = {round_percent(fused, total)}%"
    )


def log_after(graph, supported, groups, compiled):
    total = len(graph.operators())
    done = set().union(*(made.group for made in compiled)) if compiled else set()
    logger.info(
        f"Number of arithmetic operators (post-compilation) before = {total}, compiled = {len(done)}, "
        f"percent compiled = {round_percent(len(done), total)}%"
    )
    logger.info(f"The neuron partitioner created {len(groups)} sub-graphs")
    logger.info(
        f"Neuron successfully compiled {len(compiled)} sub-graphs, Total fused subgraphs = {len(groups)}, "
        f"Percent of model sub-graphs successfully compiled = {round_percent(len(compiled), len(groups))}%"
    )
    logger.info("Compiled these operators (and operator counts) to Neuron:")
    for kind, count in sorted(Counter(graph.nodes[at].kind() for at in done).items()):
        logger.info(f" => {kind}: {count}")
    if len(done) == total:
        return
    left = [at for at in graph.operators() if at not in done]
    taken = {graph.nodes[at].kind() for at in supported}
    logger.info("Not compiled operators (and operator counts) to Neuron:")
    for kind, count in sorted(Counter(graph.nodes[at].kind() for at in left).items()):
        logger.info(f" => {kind}: {count} [{'supported' if kind in taken else 'not supported'}]")
    if compiled and len(done) / total < 0.5:
        logger.warning("torch.neuron.trace was unable to compile > 50% of the operators in the compiled model!")
        logger.warning("Please review the torch.neuron.analyze_model output and if you believe you are seeing a failure")
        logger.warning("Lodge an issue on https://github.com/aws/aws-neuron-sdk/issues if you believe the model is not compiling")


class Compiled(torch.nn.Module):
    """A sub-graph on the chip: `neuron::forward_N` with what the compiler made as tensors of bytes."""

    def __init__(self, group, taken, made, neff, metaneff):
        super().__init__()
        self.group, self.taken, self.made = group, taken, made
        self.operator = getattr(torch.ops.neuron, f"forward_{len(made)}")
        for name, data in (("uuid", str(uuid.uuid1()).encode()), ("metaneff", metaneff.encode()), ("neff", neff)):
            self.register_buffer(name, interface.bytes_tensor(data))

    def forward(self, *tensors):
        results = self.operator(list(tensors), self.uuid, self.metaneff, self.neff, [], [])
        return (results,) if isinstance(results, torch.Tensor) else tuple(results)

    def run(self, values):
        values.known.update(zip(self.made, self.forward(*(values.of(name) for name in self.taken))))


class Job:
    def __init__(self, graph, inputs, workdir, arguments):
        self.graph, self.inputs, self.workdir, self.arguments = graph, inputs, workdir, arguments
        self.fault, _ = faults.compile_fault(faults.shape_of(inputs))
        self.steps = Part(graph, graph.input_names, [], [], {})
        # Every operator once on the host: what shapes, types and numbers flow between the parts.
        self.seen = Values(graph, self.steps.stored, zip(graph.input_names, inputs))
        for at in graph.operators():
            self.seen.run(at)

    def compile(self, number, group):
        """The Compiled, or None where the compiler failed and the operators stay on the host."""
        graph = self.graph
        name = f"_NeuronGraph${min(group)}"
        taken, made = graph.boundary(group), graph.results(group)
        constants = {key: self.seen.of(key) for key in taken if not isinstance(self.seen.of(key), torch.Tensor)}
        taken = [key for key in taken if key not in constants]
        made = [key for key in made if isinstance(self.seen.of(key), torch.Tensor)]
        tensors = tuple(self.seen.of(key).detach() for key in taken)
        part = Part(graph, taken, made, sorted(group), constants)
        part(*tensors)
        script = interface.script_bytes(torch.jit.trace(part, tensors, check_trace=False))
        outputs = [self.seen.of(key) for key in made]
        try:
            neff = self.run_compiler(number, name, script, tensors, outputs)
        except Exception as error:
            if isinstance(error, subprocess.TimeoutExpired):
                raise
            logger.warning(f"torch.neuron.trace failed on {name}; falling back to native python function call")
            logger.error(f"{error}\n{traceback.format_exc().rstrip()}")
            return None
        return Compiled(group, taken, made, neff, interface.metaneff(tensors, outputs))

    def run_compiler(self, number, name, script, tensors, outputs):
        limit = faults.setting("limit_bytes", CONSTANT_BYTES_MAX)
        if len(script) > limit and not self.separate_weights:
            raise RuntimeError("Error parsing message with type 'tensorflow.GraphDef'")
        folder = pathlib.Path(self.workdir) / str(number) if self.workdir else pathlib.Path(tempfile.mkdtemp())
        folder.mkdir(parents=True, exist_ok=True)
        neff = folder / "graph_def.neff"
        neff.unlink(missing_ok=True)
        command = self.command(folder, script, tensors, outputs)
        log_file = folder / "graph_def.neuron-cc.log" if self.workdir else None
        logger.info(f"Compiling function {name} with neuron-cc" + (f"; log file is at {log_file}" if log_file else ""))
        if self.arguments:
            logger.info(f"Compiler args type is {list} value is {self.arguments}")
        logger.info(f"Compiling with command line: '{' '.join(command)}'")
        if self.fault == "script-killed":
            faults.die_silently()
        with open(log_file or os.devnull, "wb") as log:
            output = {"stdout": log, "stderr": log} if log_file else {}
            status = subprocess.run(command, timeout=self.timeout, **output).returncode
        if status != 0:
            logger.info(f"Compile command returned: {status}")
            raise subprocess.SubprocessError(f"neuron-cc failed with the following command line call:\n{' '.join(command)}")
        if self.fault == "nothing-compiled":
            raise ValueError("Cannot reshape a tensor with 768 elements to shape [1,12,32] (384 elements)")
        data = neff.read_bytes()
        if not self.workdir:
            shutil.rmtree(folder)
        return data

    def command(self, folder, script, tensors, outputs):
        program = shutil.which("neuron-cc")
        if program is None:
            logger.error(
                "Please check that neuron-cc is installed and working properly. You can install neuron-cc using "
                "'python3 -m pip install neuron-cc[tensorflow] -U --extra-index-url=https://pip.repos.neuron.amazonaws.com'"
            )
            raise FileNotFoundError("neuron-cc")
        model = folder / "model" if self.separate_weights else folder / "graph_def.pb"
        if self.separate_weights:
            model.mkdir(exist_ok=True)
        (model / "saved_model.pb" if self.separate_weights else model).write_bytes(script)
        (folder / "metadata.json").write_text(json.dumps({"double": {"shape": faults.shape_of(self.inputs)}}))
        command = [program, "compile", str(model), "--framework", "TENSORFLOW", "--pipeline", "compile", "SaveTemps"]
        command += ["--output", str(folder / "graph_def.neff")]
        if not self.separate_weights:
            described = {f"{i}:0": [list(t.shape), str(t.dtype).removeprefix("torch.")] for i, t in enumerate(tensors)}
            io_config = {"inputs": described, "outputs": [f"Output_{i}:0" for i in range(len(outputs))]}
            command += ["--io-config", json.dumps(io_config)]
        return [*command, *self.arguments, "--verbose", "35"]

    def assemble(self, compiled):
        """The operators of the host and the compiled sub-graphs, as one TorchScript module."""
        graph = self.graph
        on_chip = set().union(*(made.group for made in compiled)) if compiled else set()
        waiting = [at for at in graph.operators() if at not in on_chip] + list(compiled)
        ready = set(graph.input_names)
        steps = []
        while waiting:
            for unit in waiting:
                needs = graph.boundary({unit} if isinstance(unit, int) else unit.group)
                if set(needs) <= ready:
                    break
            else:
                raise RuntimeError("the sub-graphs wait for one another")
            waiting.remove(unit)
            steps.append(unit)
            places = [unit] if isinstance(unit, int) else unit.group
            ready |= {value.debugName() for at in places for value in graph.nodes[at].outputs()}
        result = graph.nodes[graph.maker[graph.result_name]]
        names = [value.debugName() for value in result.inputs()]
        constants = {}
        for made in compiled:
            for at in made.group:
                for value in graph.nodes[at].outputs():
                    seen = self.seen.of(value.debugName())
                    if not isinstance(seen, torch.Tensor):
                        constants[value.debugName()] = seen
        whole = Whole(Part(graph, graph.input_names, names, steps, constants), graph.structure)
        if self.half:
            logger.info("FLOAT32_TO_FLOAT16 is accepted by the double and has no effect")
        runtime = torch.classes.neuron.Runtime()
        runtime.double_disable_load(True)
        try:
            # The first run makes what is stored into buffers, which tracing then refers to.
            whole(*self.inputs)
            return torch.jit.trace(whole, tuple(self.inputs), check_trace=False)
        finally:
            runtime.double_disable_load(False)


class Whole(torch.nn.Module):
    def __init__(self, part, structure):
        super().__init__()
        self.part, self.structure = part, structure

    def forward(self, *inputs):
        return pytree.tree_unflatten(list(self.part(*inputs)), self.structure)
