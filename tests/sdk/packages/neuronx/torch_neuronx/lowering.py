"""From a function to HLO, by the real torch-xla."""

import copy

import torch
import torch_xla
import torch_xla.debug.metrics as metrics
from neuron_double import interface


class Lowered:
    """`hlo`: a serialized HloModuleProto; `weights`: name to tensor, of the parameters that are not inputs."""

    def __init__(self, hlo, text, weights):
        self.hlo, self.text, self.weights = hlo, text, weights


def fallbacks():
    """The operators that torch-xla sent back to the host so far, with their counts: these have no lowering."""
    return {name: metrics.counter_value(name) for name in metrics.counter_names() if name.startswith("aten::")}


def lower(func, inputs):
    device = torch_xla.device()
    before = fallbacks()
    moved = copy.deepcopy(func).to(device) if isinstance(func, torch.nn.Module) else func
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
    constants = context.parameter_id_tensor_mapping()
    given = {torch_xla._XLAC._xla_get_tensor_id(tensor) for tensor in on_device}
    named = dict(moved.state_dict()) if isinstance(moved, torch.nn.Module) else {}
    weights = {
        name: tensor
        for name, tensor in named.items()
        if tensor.is_floating_point() and torch_xla._XLAC._xla_get_tensor_id(tensor) not in given
    }
    del constants
    return Lowered(context.hlo(), context.hlo_text(), weights)
