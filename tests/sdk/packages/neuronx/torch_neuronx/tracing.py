"""torch_neuronx.trace."""

import contextlib
import inspect
import json
import logging
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import warnings

import numpy
import torch
from neuron_double import faults, interface
from torch.utils import _pytree as pytree
from torch_neuronx.lowering import lower
from torch_neuronx.partitioner import PartitionerConfig

logger = logging.getLogger("Neuron")

# What protobuf can hold. The fault file can lower it, as `limit_bytes`.
HLO_BYTES_MAX = 2**31 - 1

NO_DEVICE = """The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged
to your system logs. See the Neuron Runtime's troubleshooting guide for help on this
topic: https://awsdocs-neuron.readthedocs-hosted.com/en/latest/"""

KILLED = (
    "The neuronx-cc (neuron compiler) process was killed (SIG_KILL).  This typically happens when there is insufficient "
    "memory to compile and the linux Out Of Memory (OOM) killer terminates the compiler. Consider trying compilation on "
    "an instance with more memory"
)


class NeuronModule(torch.nn.Module):
    """A compiled graph, with the structure that the traced function returned."""

    def __init__(self, neff, metaneff, structure, outputs):
        super().__init__()
        self.model = torch.classes.neuron.Model(interface.bytes_tensor(neff), interface.bytes_tensor(metaneff.encode()))
        self.structure = structure
        self.operator = getattr(torch.ops.neuron, f"forward_v2_{outputs}")

    def forward(self, *tensors):
        results = self.operator(list(tensors), self.model)
        results = [results] if isinstance(results, torch.Tensor) else list(results)
        return pytree.tree_unflatten(results, self.structure)


def trace(
    func,
    example_inputs,
    *_,
    input_output_aliases={},
    compiler_workdir=None,
    compiler_args=None,
    partitioner_config=None,
    inline_weights_to_neff=True,
    cpu_backend=False,
):
    if _:
        warnings.warn(
            f"Received {2 + len(_)} positional arguments but expected 2. Use of positional arguments after `func` and "
            "`example_inputs` is not supported and they are ignored. Please specify keyword arguments instead.",
            category=DeprecationWarning,
            stacklevel=2,
        )
    inputs = check(func, example_inputs)
    arguments = split(compiler_args)
    target = default_target(arguments, cpu_backend)
    if input_output_aliases or not inline_weights_to_neff:
        raise NotImplementedError("the double imitates neither aliases nor weights outside of the NEFF")
    if partitioner_config is not None:
        if not isinstance(partitioner_config, PartitionerConfig):
            raise TypeError("partitioner_config must be a torch_neuronx.PartitionerConfig")
        raise NotImplementedError("the double does not partition")
    with contextlib.ExitStack() as stack:
        workdir = pathlib.Path(compiler_workdir or stack.enter_context(tempfile.TemporaryDirectory()))
        outputs, structure = write_model(func, inputs, workdir)
        if faults.compile_fault(faults.shape_of(inputs))[0] == "script-killed":
            faults.die_silently()
        neff = compile_model(workdir, target, arguments)
        module = NeuronModule(neff.read_bytes(), interface.metaneff(inputs, outputs), structure, len(outputs))
        runtime = torch.classes.neuron.Runtime()
        runtime.double_disable_load(True)
        try:
            return torch.jit.trace(module, inputs, strict=False, check_trace=False)
        finally:
            runtime.double_disable_load(False)


def check(func, example_inputs):
    if isinstance(func, (torch.jit.ScriptModule, torch.jit.ScriptFunction)):
        raise ValueError("func is TorchScript; the documentation promises torch.nn.Module and callables only")
    if not isinstance(func, torch.nn.Module) and not callable(func):
        raise TypeError(f"func must be a torch.nn.Module or a callable, not {type(func).__name__}")
    inputs = interface.as_tuple(example_inputs) if isinstance(example_inputs, (torch.Tensor, tuple)) else None
    if inputs is None or not inputs or not all(isinstance(tensor, torch.Tensor) for tensor in inputs):
        raise TypeError("example_inputs must be a tensor or a tuple of tensors")
    if isinstance(func, torch.nn.Module):
        inspect.signature(func.forward).bind(*inputs)
    return inputs


def split(compiler_args):
    if compiler_args is None:
        return []
    if isinstance(compiler_args, str):
        return shlex.split(compiler_args)
    if not all(isinstance(argument, str) for argument in compiler_args):
        raise TypeError("compiler_args must be a string or a list of strings")
    return list(compiler_args)


def default_target(arguments, cpu_backend):
    """The target that comes first on the command line; one in `arguments` is to the right of it and wins."""
    named = any(argument == "--target" or argument.startswith("--target=") for argument in arguments)
    if cpu_backend and not named:
        raise ValueError("cpu_backend=True needs a --target in compiler_args")
    if not cpu_backend and not faults.has_device():
        raise RuntimeError(NO_DEVICE)
    # As the real package's command lines show, whatever the device.
    return "trn1"


def write_model(func, inputs, workdir):
    """Fills <workdir>/model; returns the example outputs as a flat list, and their structure."""
    lowered = lower(func, inputs)
    limit = faults.setting("limit_bytes", HLO_BYTES_MAX)
    if len(lowered.hlo) > limit:
        raise RuntimeError(f"Failed to serialize proto: the HLO has {len(lowered.hlo)} bytes, and protobuf takes {limit}")
    flat = interface.Flat(func)
    with torch.no_grad():
        script = torch.jit.trace(flat, inputs, strict=False, check_trace=False)
        outputs = flat(*inputs)
    model = workdir / "model"
    (model / "weights").mkdir(parents=True, exist_ok=True)
    (model / "graph.hlo").write_bytes(lowered.hlo)
    for name, tensor in lowered.weights.items():
        numpy.save(model / "weights" / f"{name}.npy", tensor.cpu().numpy())
    (model / "double.pt").write_bytes(interface.script_bytes(script))
    inputs_seen = [{"shape": list(tensor.shape), "dtype": str(tensor.dtype)} for tensor in inputs]
    metadata = {"inputs": inputs_seen, "double": {"shape": faults.shape_of(inputs)}}
    (model / "metadata.json").write_text(json.dumps(metadata))
    return list(outputs), flat.structure


def compile_model(workdir, target, arguments):
    """Runs neuronx-cc and returns the path of the NEFF that it should have written."""
    program = shutil.which("neuronx-cc")
    if program is None:
        raise RuntimeError("neuronx-cc compiler binary does not exist")
    neff = workdir / "graph.neff"
    neff.unlink(missing_ok=True)
    command = [program, "compile", str(workdir / "model"), "--framework", "XLA", "--target", target, "--output", str(neff), *arguments]
    (workdir / "command.txt").write_text(" ".join(os.path.basename(item) for item in command))
    status = subprocess.run(command).returncode
    if status == -9:
        logger.warning(KILLED)
    if status != 0:
        raise RuntimeError(f"neuronx-cc failed with {status}")
    return neff
