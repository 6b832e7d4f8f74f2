"""`worker`: loads artifacts and runs them on request, on the connected socket that is its stdin.

It speaks what `neuronc-torch worker` speaks, in the SDK's own interpreter: for chips whose libtorch another
process cannot load. When the front process ends, the socket closes and the worker ends with it.
"""

import importlib
import socket
import sys
import time

import torch

import failures
import reporting
import safetensors_file
import wire

# No operator gets more threads than this.
_THREADS_MAX = 1024


def run():
    """Answers requests until the peer closes the socket; returns the exit status."""
    stream = socket.socket(fileno=0)
    # The optimiser has nothing to gain: shapes are fixed, and it takes the first two runs of each artifact.
    if hasattr(torch._C, "_set_graph_executor_optimize"):
        torch._C._set_graph_executor_optimize(False)
    torch.set_num_interop_threads(1)
    loaded = _Loaded()
    try:
        with torch.no_grad():
            while True:
                frame = wire.receive(stream)
                if frame is None:
                    return 0
                message, tensors = frame
                request = message.get("request") if isinstance(message, dict) else None
                if request == "load":
                    wire.send(stream, loaded.replied(message))
                elif request == "unload":
                    loaded.forget(message["first"], message["count"])
                    wire.send(stream, {"reply": "unloaded"})
                elif request == "run" and not loaded.is_empty():
                    reply, output = loaded.answer(message, tensors)
                    wire.send(stream, reply, output)
                elif request == "run":
                    raise wire.WireError("nothing is loaded yet")
                else:
                    raise wire.WireError("the request is none of this worker's")
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except Exception as error:
        return _fail(stream, error)


def _fail(stream, error):
    """Tells the peer, which may be gone, and the log."""
    message = _message(error)
    sys.stderr.write(message + "\n")
    try:
        wire.send(stream, {"reply": "failed", "id": None, "message": message})
    except OSError:
        pass
    return 1


def _message(error):
    if isinstance(error, wire.WireError):
        return str(error)
    return failures.classify(error).message


class _Loaded:
    """The artifacts of all bundles, numbered on, each with the weights that those of its bundle share."""

    def __init__(self):
        self._artifacts = []

    def is_empty(self):
        return not self._artifacts

    def replied(self, load):
        """Loads the artifacts of one more bundle; only the first one has to succeed."""
        if self.is_empty():
            self.add(load)
            return {"reply": "loaded"}
        try:
            self.add(load)
        except Exception as error:
            return {"reply": "failed", "id": None, "message": _message(error)}
        return {"reply": "loaded"}

    def forget(self, first, count):
        """Lets go of artifacts; their numbers stay taken."""
        for index in range(first, min(first + count, len(self._artifacts))):
            self._artifacts[index] = None

    def add(self, load):
        """Loads the artifacts of one more bundle."""
        if load.get("protocol") != reporting.PROTOCOL:
            raise wire.WireError(
                "the request is of protocol {}, this worker speaks {}".format(load.get("protocol"), reporting.PROTOCOL)
            )
        threads = load["threads"]
        if not 1 <= threads <= _THREADS_MAX:
            raise wire.WireError("an operator cannot use {} threads".format(threads))
        torch.set_num_threads(threads)
        if load.get("module"):
            # It registers the operators of its artifacts.
            importlib.import_module(load["module"])
        names = load["weight_names"]
        stored = safetensors_file.read(load["weights"], names) if names else {}
        weights = [stored[name] for name in names]
        self._artifacts += [(each["bucket"], _load(each["file"]), weights) for each in load["artifacts"]]

    def answer(self, request, tensors):
        """The reply to a run and its tensors. A failure leaves everything as it was."""
        start = time.monotonic()
        try:
            output = self._run(request["artifact"], tensors)
        except Exception as error:
            return {"reply": "failed", "id": request["id"], "message": _message(error)}, []
        micros = int((time.monotonic() - start) * 1000000)
        return {"reply": "output", "id": request["id"], "micros": micros}, [output]

    def _run(self, index, tensors):
        if not 0 <= index < len(self._artifacts):
            raise wire.WireError("there is no artifact {}, only {}".format(index, len(self._artifacts)))
        if self._artifacts[index] is None:
            raise wire.WireError("artifact {} was unloaded".format(index))
        bucket, artifact, weights = self._artifacts[index]
        _check(bucket, tensors)
        output = artifact(*weights, *tensors)
        if isinstance(output, (list, tuple)):
            output = output[0]
        return output.to(torch.float32).contiguous()


def _load(path):
    try:
        return torch.jit.load(path)
    except Exception as error:
        failure = failures.classify(error)
        raise failures.JobError(failure.kind, "loading `{}`".format(path), failure.message) from error


def _check(bucket, tensors):
    """PyTorch would broadcast a wrong shape or read a wrong type before it complains."""
    grid = [bucket["batch"], bucket["sequence"]]
    name = "{}x{}".format(*grid)
    if not any(list(tensor.shape) == grid for tensor in tensors):
        raise wire.WireError("bucket {} got no input of its shape".format(name))
    for index, tensor in enumerate(tensors):
        if list(tensor.shape) not in (grid, grid[:1]) or tensor.dtype != torch.int64:
            raise wire.WireError(
                "input {} of bucket {} is {} {}".format(index, name, tensor.dtype, list(tensor.shape))
            )
