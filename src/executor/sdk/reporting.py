"""How an executor talks: events on a descriptor of their own, everything else into the log.

Frameworks and compilers print wherever they like, some of them from child processes. Events therefore take over
the descriptor that was stdout, and stdout becomes stderr, which the caller keeps as the compiler log.
"""

import json
import os
import sys
import traceback

import failures
import packages

# Executor and caller must agree on this number; it is neuronc's `job::PROTOCOL`.
PROTOCOL = 4


class Events:
    """Writes events, one JSON object per line."""

    def __init__(self, descriptor):
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")

    def send(self, event, **fields):
        """Writes one event. The caller may be gone; then nothing is left to be done for it."""
        fields["event"] = event
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()


def take_stdout():
    """Returns a descriptor for what stdout was and makes stdout the log."""
    descriptor = os.dup(1)
    os.set_inheritable(descriptor, False)
    os.dup2(2, 1)
    return descriptor


def prepare_environment():
    """What libraries read when they are imported: no network, no threads of tokenizers, no other framework.

    The SDK looks for its compiler on PATH, as if the interpreter's environment were activated.
    """
    programs = os.path.dirname(sys.executable)
    os.environ["PATH"] = os.pathsep.join([programs] + os.environ.get("PATH", os.defpath).split(os.pathsep))
    os.environ.update(
        {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # neuron-cc brings an old TensorFlow, which transformers would import.
            "USE_TF": "0",
            "USE_FLAX": "0",
            "USE_TORCH": "1",
        }
    )


def run(events, stdin, perform):
    """Reads a job, does it with `perform` and reports; returns the exit status."""
    events.send(
        "started",
        protocol=PROTOCOL,
        executor="neuronc-sdk",
        versions=[["python", packages.python_version()]] + sorted(packages.versions().items()),
    )
    try:
        perform(_read(stdin))
    except BaseException as error:  # SystemExit too: some packages exit where they should raise.
        traceback.print_exc()
        sys.stderr.flush()
        failure = failures.classify(error)
        events.send("failed", **{"class": failure.kind, "message": failure.message})
        return 1
    events.send("done")
    return 0


class _Job(dict):
    """An object of a job; a key that is missing is the caller's mistake."""

    def __missing__(self, key):
        raise failures.JobError(failures.INPUT, "the job has no `{}`".format(key))


def _read(stdin):
    try:
        job = json.loads(stdin.read().decode("utf-8"), object_hook=_Job)
    except ValueError as error:
        raise failures.JobError(failures.INPUT, "the job is not JSON", str(error))
    protocol = job.get("protocol") if isinstance(job, dict) else None
    if protocol != PROTOCOL:
        raise failures.JobError(
            failures.INPUT, "the job is of protocol {}, this executor speaks {}".format(json.dumps(protocol), PROTOCOL)
        )
    return job
