"""What both doubles of the compilers do: progress on the screen, and failing as they are told."""

import datetime
import os
import pathlib
import signal
import sys
import time

from neuron_double import faults


class Screen:
    """The compilers' way to print: dots without an end of line, then the status."""

    def dot(self):
        sys.stdout.write(".")
        sys.stdout.flush()

    def status(self, text):
        sys.stdout.write(f"\nCompiler status {text}\n")
        sys.stdout.flush()


def records(prefix, lines, stream=None):
    for line in lines:
        print(f"{prefix}{line}", file=stream or sys.stderr, flush=True)


def now(form):
    return datetime.datetime.now(datetime.timezone.utc).strftime(form)


def before_compiling(fault, value, screen):
    """The faults in which a compiler says nothing of its own. Returns if it is to go on."""
    screen.dot()
    if fault == "killed":
        faults.die_silently()
    if fault == "aborted":
        os.kill(os.getpid(), signal.SIGABRT)
    if fault == "crashed":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "hang":
        while True:
            signal.pause()
    if fault == "slow":
        end = time.monotonic() + float(value)
        while time.monotonic() < end:
            time.sleep(0.1)
            screen.dot()
    if fault == "print":
        flood(int(value or 1 << 30))
    screen.dot()


def flood(size):
    line = b"INFO: a line that a compiler prints again and again, of one hundred bytes with its end, no more, no less." + b"\n"
    block = line * 4096
    written = 0
    while written < size:
        written += sys.stdout.buffer.write(block)
    sys.stdout.flush()


def write_result(fault, path, write):
    """The NEFF, unless the fault is that there is none or half of one."""
    if fault == "no-artifact":
        pathlib.Path(path).unlink(missing_ok=True)
        return
    write()
    if fault == "damaged":
        from neuron_double import neff

        neff.damage(path)
