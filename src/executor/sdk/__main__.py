"""The Python executor of neuronc: `python3 -I -B FOLDER JOB`.

Does one job that needs PyTorch, transformers or a Neuron SDK, in whatever environment its interpreter belongs
to. The job comes as JSON on stdin and events leave on the descriptor that was stdout; docs/executors.md describes
both. Nothing heavy is imported before the first event is out.
"""

import importlib
import sys

import reporting

# The file that does each job, by the name of the job.
JOBS = {
    "probe": "probe",
    "describe": "describe",
    "trace": "tracing",
    "compile": "compiling",
    "lower": "lowering",
}


def main(arguments):
    """Does the job that is named on the command line and returns the exit status."""
    if len(arguments) != 1 or arguments[0] not in list(JOBS) + ["worker"]:
        sys.stderr.write("usage: python3 -I -B FOLDER {}\n".format("|".join(list(JOBS) + ["worker"])))
        return 2
    name = arguments[0]
    if name == "worker":
        reporting.prepare_environment()
        reporting.take_stdout()
        return importlib.import_module("worker").run()
    events = reporting.Events(reporting.take_stdout())
    reporting.prepare_environment()
    return reporting.run(events, sys.stdin.buffer, lambda job: importlib.import_module(JOBS[name]).run(job, events))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
