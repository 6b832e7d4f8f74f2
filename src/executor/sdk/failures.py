"""What went wrong, in the classes that neuronc knows.

Frameworks and compilers raise whatever they like; the class is read from the type of an exception and from the
texts that the SDK's documents and the logs of its users show.
"""

import errno
import re
import subprocess

INPUT = "input"
RESOURCES = "resources"
FRAMEWORK = "framework"
SDK = "sdk"
COMPILER = "compiler"
DEVICE = "device"

# Lines of an exception's text that a message keeps, and the length of one of them.
_LINES_MAX = 12
_LINE_MAX = 400

_RESOURCE_TEXTS = re.compile(
    r"(failed with|returned:?|status|died with) (-9|137)\b|SIG_?KILL|\[F137\]|NCC_EOOM\d|No space left on device"
    r"|Disk quota exceeded|Cannot allocate memory|can't allocate memory|not enough memory|std::bad_alloc"
    r"|out of memory",
    re.IGNORECASE,
)
_SDK_TEXTS = re.compile(
    r"WRONG PACKAGE|neuronx?-cc is not installed|neuronx?-cc compiler binary does not exist"
    r"|Please check that neuron-cc is installed"
)
_DEVICE_TEXTS = re.compile(
    r"\bNRT\b|\bNRT[_:]|\bnrt_\w+|\bNERR_|Neuron runtime (cannot|could not) be initialized|No neuron device"
    r"|NeuronCore\(s\) not available|Neuron cores are not contiguous|NEFF version mismatch|Invalid NeuronCore count"
    r"|device or resource busy",
    re.IGNORECASE,
)
_COMPILER_TEXTS = re.compile(
    r"neuronx?-cc failed with|NCC_[EI][A-Z]{2,3}\d{3}|\[F13[49]\]|No operations were successfully partitioned"
    r"|No operator is placed on Neuron runtime|Compilation failure|Lowering to HLO failed|Failed to serialize proto"
    r"|Internal Compiler Error"
    r"|aborting trace|percentage of .* below threshold|The partitioner has found|Partitioner created a",
    re.IGNORECASE,
)
# What `trace` raises when an operator is not supported and may not fall back, when the compiler's process fails, and
# when that process leaves nothing behind.
_COMPILER_ERRORS = (AttributeError, subprocess.SubprocessError, FileNotFoundError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


class JobError(Exception):
    """A failure of a known class: what failed, and why."""

    def __init__(self, kind, what, why=""):
        self.kind = kind
        self.message = "\n".join(part for part in (what, _shortened(why)) if part)
        super().__init__(self.message)


class CompilerStage:
    """Inside of this block the SDK's `trace` or `analyze` works: what only a compiler raises is its failure.

    `killed` tells whether a compiler was killed meanwhile, which an exception need not say.
    """

    def __init__(self, killed):
        self._killed = killed

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, Exception) and not isinstance(error, JobError):
            kind = RESOURCES if self._killed() else _kind_of(error, compiling=True)
            raise JobError(kind, _headline(error), _details(error)) from error
        return False


def classify(error):
    """The `JobError` for any exception."""
    if isinstance(error, JobError):
        return error
    return JobError(_kind_of(error), _headline(error), _details(error))


def is_resource_failure(error):
    """Whether memory or disk ran out."""
    return _kind_of(error) == RESOURCES


def text_of(error):
    """The texts of an exception and of those behind it."""
    return "\n".join(str(each) for each in chain(error))


def _kind_of(error, compiling=False):
    errors = chain(error)
    text = text_of(error)
    if any(isinstance(each, MemoryError) or getattr(each, "errno", None) in _FULL for each in errors):
        return RESOURCES
    if any(getattr(each, "returncode", None) == -9 for each in errors) or _RESOURCE_TEXTS.search(text):
        return RESOURCES
    if any(isinstance(each, ImportError) for each in errors) or _SDK_TEXTS.search(text):
        return SDK
    if _COMPILER_TEXTS.search(text):
        return COMPILER
    if _DEVICE_TEXTS.search(text):
        return DEVICE
    if compiling and any(isinstance(each, _COMPILER_ERRORS) for each in errors):
        return COMPILER
    return FRAMEWORK


def chain(error):
    """An exception and those that led to it, the last one first."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def _headline(error):
    lines = _lines(error)
    if isinstance(error, SystemExit):
        return "the framework ended the process with {!r}".format(error.code)
    name = type(error).__name__
    return "{}: {}".format(name, lines[0][:_LINE_MAX]) if lines else name


def _details(error):
    return "\n".join(_lines(error)[1:])


def _lines(error):
    return [line.rstrip() for line in str(error).splitlines() if line.strip()]


def _shortened(text):
    lines = [line[:_LINE_MAX] for line in text.splitlines()]
    if len(lines) > _LINES_MAX:
        lines = lines[: _LINES_MAX // 2] + ["..."] + lines[-_LINES_MAX // 2 :]
    return "\n".join(lines)
