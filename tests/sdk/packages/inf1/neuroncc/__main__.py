"""`neuron-cc`: checks its command line, prints what the compiler prints, and writes a double's NEFF."""

import json
import os
import pathlib
import sys

from neuron_double import compiler, faults, neff
from neuroncc import arguments

STARS = "*" * 63


def fail(options, message, error_class, location):
    """Ends with 1 and the block that real logs end with; this compiler has no error codes."""
    lines = [
        STARS,
        " An Internal Compiler Error has occurred",
        STARS,
        "",
        "Please contact Customer Support and provide the following details.",
        "",
        f"Error message:  {message}",
        "",
        f"Error class:    {error_class}",
        f"Error location: {location}",
        f"Command line:   {' '.join(sys.argv)}",
        "",
        "Internal details:",
        '  File "neuroncc/driver/Job.py", line 207, in neuroncc.driver.Job.runSingleInputFn',
        "",
        "Version information:",
        f"  Neuron Compiler version {arguments.version()}+double",
        "",
        f"Artifacts stored in: {pathlib.Path(options.output).parent}",
    ]
    print(flush=True)
    compiler.records(f"{compiler.now('%m/%d/%Y %I:%M:%S %p')} ERROR {os.getpid()} [neuron-cc]: ", lines)
    compiler.Screen().status("ERROR")
    sys.exit(1)


def main():
    sys.argv[0] = os.path.join(sys.prefix, "bin", "neuron-cc")
    options = arguments.parse()
    model = pathlib.Path(options.model[0])
    metadata = model.parent / "metadata.json"
    if not model.exists() or not metadata.exists():
        fail(options, f"{model} does not exist", "FileNotFoundError", "Unknown")
    script = (model / "saved_model.pb" if model.is_dir() else model).read_bytes()
    screen = compiler.Screen()
    fault, value = faults.compile_fault(json.loads(metadata.read_text())["double"]["shape"])
    compiler.before_compiling(fault, value, screen)
    backend = f"{sys.prefix}/lib/python3/site-packages/neuroncc/starfish/bin/list_sch --hhir hh-tr-external-move.json"
    if fault == "internal-error":
        fail(options, f"Non-zero exit status (134) for command: {backend}", "CompilerInternalError", "job.Scheduler.3")
    if fault in ("out-of-memory", "device-memory"):
        fail(options, f"Non-zero exit status (137) for command: {backend}", "CompilerInternalError", "job.Scheduler.3")
    if fault == "unsupported":
        fail(options, f"Unsupported operator: {value or 'topk'}", "NotImplementedError", "job.Frontend.3")
    cores = options.neuroncore_pipeline_cores
    compiler.write_result(fault, options.output, lambda: neff.write(options.output, script, major=1, cores=cores))
    screen.status("PASS")


main()
