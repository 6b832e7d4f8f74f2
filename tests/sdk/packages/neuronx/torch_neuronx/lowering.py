"""From a function to HLO, by the real torch-xla."""

import copy

import torch
import torch_xla
import torch_xla.debug.metrics as metrics
from neuron_double import interface


class Lowered:
    """`hlo`: a serialized HloModuleProto; `weights`: name to tensor."""

    def __init__(self, hlo, weights):
        self.hlo, self.weights = hlo, weights


def fallbacks():
    """The operators that torch-xla sent back to the host so far, with their counts: these have no lowering."""
    return {name: metrics.counter_value(name) for name in metrics.counter_names() if name.startswith("aten::")}


def copy_to(module, device):
    """A copy, so that the module stays as it is; functions of TorchScript, which cannot be copied, are shared."""
    shared = {}
    for part in module.modules():
        for value in vars(part).values():
            if isinstance(value, torch.jit.ScriptFunction):
                shared[id(value)] = value
    return copy.deepcopy(module, shared).to(device)


def lower(func, inputs):
    device = torch_xla.device()
    before = fallbacks()
    moved = copy_to(func, device) if isinstance(func, torch.nn.Module) else func
    on_device = [tensor.to(device) for tensor in inputs]
    with torch.no_grad():
        outputs = interface.Flat(moved)(*on_device)
    refused = sorted(name for name, count in fallbacks().items() if count != before.get(name, 0))
    if refused:
        raise RuntimeError(f"Lowering to HLO failed: no lowering for {', '.join(refused)}")
    if not all(isinstance(output, torch.Tensor) for output in outputs):
        raise RuntimeError("Lowering to HLO failed: outputs must be tensors")
    context = torch_xla._XLAC.lowering.LoweringContext()
    context.build(list(outputs))
    state = moved.state_dict() if isinstance(moved, torch.nn.Module) else {}
    return Lowered(context.hlo(), state)
