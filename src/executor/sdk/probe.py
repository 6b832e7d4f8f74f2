"""`probe`: what this interpreter is, has, and can import."""

import importlib
import os
import sys

import failures
import packages


def run(job, events):
    """Answers with `probed`. Every module of the job is imported for real: only that tells whether it works."""
    modules = job.get("modules", [])
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise failures.JobError(failures.INPUT, "`modules` of a probe is a list of names")
    missing = {}
    for name in modules:
        _, why = _import(name)
        if why is not None:
            missing[name] = why
    torch, _ = _import("torch")
    events.send(
        "probed",
        python=packages.python_version(),
        executable=sys.executable,
        packages=packages.versions(),
        torch=None if torch is None else str(torch.__version__),
        cxx11_abi=None if torch is None else bool(torch.compiled_with_cxx11_abi()),
        missing=missing,
        site_packages=_site_packages(),
    )


def _import(name):
    """The module of that name and None, or None and why it cannot be imported."""
    try:
        return importlib.import_module(name), None
    except BaseException as error:  # A broken package may raise anything, and some call sys.exit.
        texts = [_first_line(each) for each in failures.chain(error)]
        text = "; because: ".join(text for text in texts if text)
        if isinstance(error, ImportError) and text:
            return None, text
        return None, "{}: {}".format(type(error).__name__, text)


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else ""


def _site_packages():
    names = ("site-packages", "dist-packages")
    return [path for path in sys.path if os.path.basename(path.rstrip("/")) in names]
