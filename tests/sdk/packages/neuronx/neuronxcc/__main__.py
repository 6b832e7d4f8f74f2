"""`neuronx-cc`: checks its command line and the HLO it is given, prints what the compiler prints, and writes a double's NEFF."""

import json
import os
import pathlib
import platform
import sys

from neuron_double import compiler, faults, neff
from neuronxcc import arguments, hlo, support

STARS = "*" * 63
OUT_OF_DEVICE_MEMORY = (
    "Maximum peak HBM usage of 18.12GB exceeds HBM limit of 16.00GB for Trn1. This consists of 1.27MB model constants, "
    "7.69GB I/O tensors, 8.88GB internal (scratchpad) tensors, 6.62MB DMA ring I/O, and 1.02GB DMA ring spills - Check "
    "the target architecture flag to ensure you are compiling for correct target"
)
KILLED = (
    "[F137] neuronx-cc was forcibly killed - This most commonly occurs due to insufficient system memory. Using a "
    "smaller data type, dimensions, batch size, or a larger instance type may help."
)


def unsupported(name):
    return (
        f"[ERROR] [NCC_EVRF001] Operator {name} is not supported. Locate the operator in source or libraries and replace it "
        "with an alternate implementation via Neuron Kernel Interface (NKI)."
    )


def refuse(options, message):
    """Ends with 70 over what the user can change: one line on the screen, and the log."""
    stamp = compiler.now("%Y-%m-%dT%H:%M:%SZ")
    line = f"{stamp} Non-signal exit. Backend exited with code 1 and stderr: {message}"
    print(f"\n{line}", file=sys.stderr, flush=True)
    log(options, [line])
    sys.exit(70)


def fail(options, message):
    """Ends with 70 over an error of the compiler's own, with the block that stands at the end of real logs."""
    prefix = f"{compiler.now('%Y-%m-%dT%H:%M:%SZ')} ERROR {os.getpid()} [neuronx-cc]: "
    lines = [
        STARS,
        " An Internal Compiler Error has occurred",
        STARS,
        "",
        f"Error message:  {message}",
        "",
        "Error class:    CompilerInternalError",
        "Error location: Unknown",
        f"Command line:   {' '.join(sys.argv)}",
        "",
        "Internal details:",
        '  File "neuronxcc/driver/CommandDriver.py", line 360, in neuronxcc.driver.CommandDriver.CommandDriver.run_subcommand',
        "",
        "Version information:",
        f"  NeuronX Compiler version {arguments.version()}+double",
        f"  Python version {platform.python_version()}",
        "",
        f"Artifacts stored in: {pathlib.Path(options.output).parent}",
    ]
    print()
    compiler.records(prefix, lines)
    log(options, [prefix + line for line in lines])
    sys.exit(70)


def log(options, lines):
    exit_line = f"{compiler.now('%Y-%m-%dT%H:%M:%SZ')} INFO {os.getpid()} [root]: Subcommand returned with exitcode=70"
    with open(options.logfile, "a") as file:
        compiler.records("", [*lines, exit_line], file)


def compile_model(options, parser):
    model = pathlib.Path(options.model)
    if options.logical_nc_config and options.target != "trn2":
        parser.exit(1, f"[ERROR] [NCC_EARG001] Unsupported Logical Neuron Core (LNC) configuration for {options.target}.\n")
    file = model / "graph.hlo" if model.is_dir() else model
    if not file.exists():
        parser.exit(1, f"[ERROR] [NCC_EARG002] Illegal argument(s) - {file} does not exist\n")
    screen = compiler.Screen()
    shape = json.loads((file.parent / "metadata.json").read_text())["double"]["shape"]
    fault, value = faults.compile_fault(shape)
    compiler.before_compiling(fault, value, screen)
    try:
        refused = support.refused(hlo.operations(file.read_bytes()))
    except ValueError as error:
        fail(options, f"{file} is no HLO module: {error}")
    if fault == "unsupported":
        refused = [value or "topk"]
    if refused:
        refuse(options, unsupported(refused[0]))
    if fault == "internal-error":
        fail(options, "[INTERNAL_ERROR] [NCC_IBIR440] Expect all DRAM memory locations to be allocated after dram_allocator")
    if fault == "device-memory":
        refuse(options, f"[ERROR] [NCC_EOOM002] {OUT_OF_DEVICE_MEMORY}")
    if fault == "out-of-memory":
        print("Backend exited with code -9", file=sys.stderr)
        fail(options, KILLED)
    if options.query_compute_placement:
        return
    script = (file.parent / "double.pt").read_bytes()
    compiler.write_result(fault, options.output, lambda: neff.write(options.output, script, major=2))
    screen.status("PASS")


def main():
    # Its own name, as argparse shows it.
    sys.argv[0] = os.path.join(sys.prefix, "bin", "neuronx-cc")
    parser = arguments.parser()
    options = parser.parse_args()
    if options.command == "list-operators":
        print("Add\nConvert\nDot\nReduce\nReshape\nTranspose")
        return
    compile_model(options, parser)


main()
