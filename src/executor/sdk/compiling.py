"""`compile`: hands a module to the SDK's `trace`, saves what comes back, and loads it again."""

import importlib
import json
import logging
import os
import re
import sys
import time
import zipfile

import torch

import failures
import inputs as rows_of
import modules

# What torch-neuron says before it returns a module in which nothing was compiled.
_NOTHING_COMPILED = "No operator is placed on Neuron runtime"

# What torch-neuron says when the system has killed its compiler, or a child of that.
_KILLED = re.compile(r"Compile command returned: (-9|137)\b|SIG_?KILL|\[F137\]")

# How the runtime refuses a NEFF that is damaged; torch-neuron's artifacts load it when they first run.
_INVALID = re.compile(r"Could not load the model status=2\b")

# More than a file system keeps without a block of its own.
_PROBE_BYTES = 64 << 10


def run(job, events):
    """Compiles one bucket of one module."""
    bucket, work = job["bucket"], job["work"]
    os.makedirs(work, exist_ok=True)
    # Compilers drop files into the current folder.
    os.chdir(work)

    def stage(name):
        events.send("stage", bucket=bucket, stage=name)

    stage("loading")
    sdk = _sdk(job)
    seen = _listen_to_sdk()
    with torch.no_grad():
        loaded = modules.load(job["module"], job["inputs"], job["pad_id"])
        examples = _examples(job)
        expected = loaded.module(*examples)
        loaded.check_finite(expected)
        loaded.drop_missing()
        if job.get("analysis"):
            stage("analyzing")
            with failures.CompilerStage(seen.killed):
                answer = sdk.analyze(loaded.module, examples)
            _write_json(job["analysis"], answer)
        stage("compiling")
        start = time.monotonic()
        with failures.CompilerStage(seen.killed):
            traced = sdk.trace(loaded.module, examples)
        millis = int((time.monotonic() - start) * 1000)
        _check_compiled(traced, seen)
        stage("saving")
        size = _save(traced, job["artifact"])
        del traced
        stage("checking")
        artifact = _load_again(job["artifact"], job["device"])
        if job["device"]:
            _run_once(artifact, examples, expected)
        events.send("artifact", bucket=bucket, bytes=size, millis=millis, ran=bool(job["device"]))


class _TorchNeuron:
    """`torch_neuron.trace`, which takes its first two arguments by place and the rest by keyword."""

    def __init__(self, package, job):
        self._package = package
        self._job = job
        self._options = dict(job["trace_options"])
        names = self._options.get("optimizations")
        if names is not None:
            self._options["optimizations"] = [self._optimization(name) for name in names]

    def _optimization(self, name):
        found = getattr(self._package.Optimization, name.upper().replace("-", "_"), None)
        if found is None:
            raise failures.JobError(failures.INPUT, "torch_neuron has no optimization `{}`".format(name))
        return found

    def trace(self, module, examples):
        return self._package.trace(
            module,
            examples,
            # Without a `compiler_workdir` the compiler writes into our log, and its files below TMPDIR.
            compiler_args=self._job["compiler_args"],
            **self._options,
        )

    def analyze(self, module, examples):
        return self._package.analyze_model(module, example_inputs=list(examples))


class _TorchNeuronx:
    """`torch_neuronx.trace`, which ignores options that are not given by keyword."""

    def __init__(self, package, job):
        self._package = package
        self._job = job
        self._options = dict(job["trace_options"])
        if self._options.pop("optimizations", None):
            raise failures.JobError(failures.INPUT, "torch_neuronx has no optimizations")

    def trace(self, module, examples):
        options = {"inline_weights_to_neff": True, "cpu_backend": not self._job["device"]}
        options.update(self._options)
        return self._package.trace(
            module,
            examples,
            compiler_workdir=self._job["work"],
            compiler_args=self._job["compiler_args"],
            **options,
        )

    def analyze(self, module, examples):
        return self._package.analyze(
            module,
            examples,
            compiler_workdir=os.path.join(self._job["work"], "analyze"),
            is_hf_transformers=False,
        )


_SDKS = {"torch-neuron": ("torch_neuron", _TorchNeuron), "torch-neuronx": ("torch_neuronx", _TorchNeuronx)}


def _sdk(job):
    if job["compiler"] not in _SDKS:
        raise failures.JobError(failures.INPUT, "`{}` is not a compiler of this executor".format(job["compiler"]))
    name, adapter = _SDKS[job["compiler"]]
    return adapter(import_sdk(name), job)


def import_sdk(name):
    """A module of the SDK. Whatever keeps it from being imported makes the SDK unusable."""
    try:
        return importlib.import_module(name)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or failures.is_resource_failure(error):
            raise
        raise failures.JobError(
            failures.SDK, "`{}` cannot be imported".format(name), failures.text_of(error)
        ) from error


class _Seen(logging.Handler):
    """Remembers what the SDK only says in its log."""

    def __init__(self):
        super().__init__()
        self.nothing_compiled = False
        self._killed = False

    def emit(self, record):
        message = record.getMessage()
        self.nothing_compiled = self.nothing_compiled or _NOTHING_COMPILED in message
        self._killed = self._killed or _KILLED.search(message) is not None

    def killed(self):
        """Whether a compiler was killed: torch-neuron goes on without its sub-graph and fails over that."""
        return self._killed


def _listen_to_sdk():
    """Makes the SDK's logger write into the log, in the layout from which neuronc reads coverage."""
    logger = logging.getLogger("Neuron")
    if not logger.hasHandlers():
        # The SDK brings none, and Python's own says nothing below a warning.
        logging.basicConfig(stream=sys.stderr, format=logging.BASIC_FORMAT)
    logger.setLevel(logging.INFO)
    seen = _Seen()
    logger.addHandler(seen)
    return seen


def _examples(job):
    """The example in every row of the bucket, since a row of nothing but padding may be NaN in some models.

    Its last token gives way to padding where it fills a row: models leave attention masks out when they see none,
    and a compiler that runs a model to see its graph would compile that.
    """
    bucket, example = job["bucket"], job["example"]
    if not rows_of.fits(example, bucket):
        raise failures.JobError(failures.INPUT, "the example does not fit its bucket")
    kept = max(1, min(len(example["ids"]), bucket["sequence"] - 1))
    row = {
        "ids": example["ids"][:kept],
        "type_ids": example["type_ids"][:kept],
        "position": min(example.get("position") or 0, kept - 1),
    }
    return tuple(rows_of.fill(bucket, [row] * bucket["batch"], job["inputs"], job["pad_id"]))


def _check_compiled(traced, seen):
    """Refuses what runs on the host only: nothing falls back silently."""
    if not hasattr(traced, "save"):
        raise failures.JobError(failures.COMPILER, "`trace` returned no TorchScript", repr(type(traced)))
    if seen.nothing_compiled or not _has_neuron_operators(traced):
        raise failures.JobError(
            failures.COMPILER,
            "0 % of the graph was compiled",
            "what `trace` returned has no operator of the chip and would run on the host",
        )


def _has_neuron_operators(traced):
    # A compiled part is called by an operator `neuron::forward...`, whatever module it lies in.
    return "neuron::forward" in str(traced.inlined_graph)


def _save(traced, path):
    """Writes the artifact beside its place and moves it there when it is complete; returns its size."""
    partial = path + ".partial"
    try:
        try:
            torch.jit.save(traced, partial)
            with open(partial, "rb+") as file:
                os.fsync(file.fileno())
        except RuntimeError:
            # libtorch does not say why it cannot write; the file system says so to those who ask.
            with open(partial, "ab") as file:
                file.write(b"\0" * _PROBE_BYTES)
                file.flush()
                os.fsync(file.fileno())
            raise
        _check_archive(partial)
        size = os.path.getsize(partial)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return size


def _check_archive(path):
    """libtorch does not notice when the last of a file is not written."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise failures.JobError(failures.COMPILER, "the artifact was not written completely", str(error))
    if damaged is not None:
        raise failures.JobError(failures.COMPILER, "the artifact was not written completely", "in `{}`".format(damaged))


def _load_again(path, device):
    """Loads the artifact as a worker will."""
    try:
        return torch.jit.load(path)
    except Exception as error:
        failure = failures.classify(error)
        if failure.kind == failures.DEVICE and not device:
            # An artifact may want its chip when it is loaded. Its file was checked; more cannot be known here.
            sys.stderr.write("the artifact was not loaded, since there is no device: {}\n".format(failure.message))
            return None
        kind = failure.kind if failure.kind in (failures.DEVICE, failures.RESOURCES) else failures.COMPILER
        raise failures.JobError(kind, "the artifact cannot be loaded again", failure.message) from error


def _run_once(artifact, examples, expected):
    try:
        output = artifact(*examples)
    except Exception as error:
        failure = failures.classify(error)
        kind = failure.kind if failure.kind == failures.RESOURCES else failures.DEVICE
        if _INVALID.search(failures.text_of(error)):
            kind = failures.COMPILER
        raise failures.JobError(kind, "the artifact cannot be run", failure.message) from error
    if isinstance(output, (list, tuple)) and len(output) == 1:
        output = output[0]
    if not torch.is_tensor(output) or output.shape != expected.shape:
        found = list(output.shape) if torch.is_tensor(output) else type(output).__name__
        raise failures.JobError(
            failures.COMPILER,
            "the artifact returns another shape than its module",
            "{} and not {}".format(found, list(expected.shape)),
        )
    if not bool(torch.isfinite(output.float()).all()):
        raise failures.JobError(failures.COMPILER, "the artifact returns numbers that are not finite")


def _write_json(path, value):
    text = json.dumps(value, default=_plain, indent=1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _plain(value):
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
