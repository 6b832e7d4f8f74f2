"""What a double is told to do wrong: the file neuronc-double.json at the root of its environment, read anew each time.

tests/sdk/README.md lists the keys and the faults.
"""

import json
import os
import pathlib
import re
import signal
import sys
import time


def settings():
    path = pathlib.Path(sys.prefix) / "neuronc-double.json"
    return json.loads(path.read_text()) if path.exists() else {}


def setting(key, default=None):
    return settings().get(key, default)


def shape_of(tensors):
    """The condition of a fault: the first input's batch and sequence."""
    sizes = list(tensors[0].shape) if tensors else []
    return dict(zip(["batch", "sequence"], sizes))


def compile_fault(shape):
    """The fault for a bucket and what stands after the colon in its name, as ("print", "1000000"); or (None, None)."""
    rules = settings().get("compile", [])
    if isinstance(rules, str):
        rules = [{"fault": rules}]
    for rule in rules:
        if all(shape.get(key) == value for key, value in rule.get("when", {}).items()):
            name, _, value = rule["fault"].partition(":")
            return name, value
    return None, None


def device_root():
    return pathlib.Path(os.environ.get("NEURON_DOUBLE_DEVICE_ROOT") or settings().get("device_root") or "/")


def has_device():
    return any(re.fullmatch(r"neuron\d+", path.name) for path in (device_root() / "dev").glob("neuron*"))


def die_silently():
    """As under the kernel's out-of-memory killer."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
