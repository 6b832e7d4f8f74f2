"""What can be set on a traced model before it is saved, and where models are put."""

import contextlib

import torch


def bindings(trace):
    """The neuron::Model objects in a traced model."""
    found = [module.model for module in trace.modules() if hasattr(module, "model") and isinstance(module.model, torch.ScriptObject)]
    if not found:
        raise ValueError("the module has no compiled Neuron graph")
    return found


def dynamic_batch(neuron_script):
    for binding in bindings(neuron_script):
        binding.set_dynamic_batching(True)
    return neuron_script


def lazy_load(trace, enable_lazy_load=True):
    for binding in bindings(trace):
        binding.set_lazy_load(enable_lazy_load)


def async_load(trace, enable_async_load=True):
    for binding in bindings(trace):
        binding.set_async_load(enable_async_load)


def _check(start_nc, nc_count):
    available = torch.classes.neuron.Runtime().get_visible_nc_count()
    if nc_count > available or nc_count == 0 or nc_count < -1:
        raise ValueError(f"Invalid NeuronCore count nc_count={nc_count}. NeuronCores available: {available}")
    if start_nc >= available or start_nc < -1:
        raise ValueError(f"Invalid NeuronCore index start_nc={start_nc}. NeuronCores available: {available}")


def set_neuron_cores(trace, start_nc=-1, nc_count=-1):
    _check(start_nc, nc_count)
    for binding in bindings(trace):
        binding.set_neuron_devices(start_nc, nc_count)


def set_multicore(trace):
    set_neuron_cores(trace, 0, -1)


@contextlib.contextmanager
def neuron_cores_context(start_nc=-1, nc_count=-1):
    _check(start_nc, nc_count)
    runtime = torch.classes.neuron.Runtime()
    before = runtime.get_default_start_nc(), runtime.get_default_nc_count()
    runtime.set_default_neuron_cores(start_nc, nc_count)
    try:
        yield
    finally:
        runtime.set_default_neuron_cores(*before)


@contextlib.contextmanager
def multicore_context():
    with neuron_cores_context(0, -1):
        yield


def move_trace_to_device(trace, device_id):
    raise NotImplementedError("the double keeps weights in the NEFF: inline_weights_to_neff=False is not imitated")


def replace_weights(neuron_model, weights):
    raise NotImplementedError("the double keeps weights in the NEFF: inline_weights_to_neff=False is not imitated")
