"""`lower`: what torch-neuronx would hand to its compiler, through torch-xla on the processor and without any SDK.

Weights stay parameters of the HLO. XLA's own results are kept, for the caller to compare with libtorch's.
"""

import os
import time

import failures


def run(job, events):
    """Lowers and runs every module of the job."""
    # Read when torch-xla is imported; whatever accelerator is here is left alone.
    os.environ["PJRT_DEVICE"] = "CPU"
    for name in ("XLA_USE_BF16", "XLA_DOWNCAST_BF16", "XLA_USE_32BIT_LONG", "XLA_DISABLE_FUNCTIONALIZATION"):
        os.environ.pop(name, None)
    import torch
    import torch_xla.core.xla_model as xla_model

    lowering = _Lowering(job, xla_model.xla_device())
    with torch.no_grad():
        for each in job["modules"]:
            start = time.monotonic()
            operators, size = lowering.lower(each)
            lowering.run_rows(each)
            millis = int((time.monotonic() - start) * 1000)
            events.send("lowered", bucket=each["bucket"], operators=operators, bytes=size, millis=millis)


class _Lowering:
    """The inputs of a job, and the module that was loaded last: all buckets of a transformers model share one."""

    def __init__(self, job, device):
        self._job = job
        self._device = device
        self._spec = None
        self._module = None

    def lower(self, each):
        """Writes the HLO of one bucket; returns its operators by name and the size of its protocol buffer."""
        import torch_xla

        import hlo

        self._load(each["module"])
        rows = [row for row in self._job["rows"] if _fits(row, each)][:1]
        output = self._run(each["bucket"], rows)
        text = torch_xla._XLAC._get_xla_tensors_hlo([output])
        size = len(torch_xla._XLAC._get_xla_tensors_hlo_proto([output]))
        os.makedirs(os.path.dirname(each["hlo"]) or ".", exist_ok=True)
        with open(each["hlo"], "w", encoding="utf-8") as file:
            file.write(text)
        return hlo.count(text), size

    def run_rows(self, each):
        """Runs each row that fits, alone, and writes what XLA computes."""
        import safetensors_file

        outputs = []
        for index, row in enumerate(self._job["rows"]):
            if _fits(row, each):
                output = self._run(each["bucket"], [row]).cpu()
                outputs.append((str(index), output.contiguous()))
        os.makedirs(os.path.dirname(each["outputs"]) or ".", exist_ok=True)
        safetensors_file.write(each["outputs"], outputs)

    def _load(self, spec):
        import modules

        if spec != self._spec:
            self._module = None
            self._module = modules.load(spec, self._job["inputs"], self._job["pad_id"]).module.to(self._device)
            self._spec = spec

    def _run(self, bucket, rows):
        import inputs

        tensors = inputs.fill(bucket, rows, self._job["inputs"], self._job["pad_id"])
        output = self._module(*[tensor.to(self._device) for tensor in tensors])
        if output.device.type != "xla":
            raise failures.JobError(failures.FRAMEWORK, "the module computes outside of XLA")
        return output


def _fits(row, each):
    return len(row["ids"]) <= each["bucket"]["sequence"]
