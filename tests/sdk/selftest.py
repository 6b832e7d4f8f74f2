"""Checks a double in its own environment: `make sdk-doubles`, then `python3 -B tests/sdk/selftest.py inf1|neuronx`.

Test code. Traces, saves, loads in a fresh interpreter and runs: MiniLM if .cache/demo-model is there, a random BERT for question
answering, and the module form in which neuronc hands its own graphs over; compares the numbers with torch's, the log with
itself, and sees every fault on demand. Prints one line for each check and ends with 1 at the first that fails.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MINILM = ROOT / ".cache" / "demo-model" / "all-MiniLM-L6-v2"
FIRST_TIMEOUT = 300

MODELS = r'''
import sys, torch
from transformers import AutoModel, BertConfig, BertForQuestionAnswering

class MiniLM(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = AutoModel.from_pretrained(MINILM, attn_implementation="eager").eval()

    def forward(self, ids, mask):
        hidden = self.model(ids, mask, return_dict=True)["last_hidden_state"]
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)

class Answers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        config = BertConfig(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256)
        config._attn_implementation = "eager"
        self.model = BertForQuestionAnswering(config).eval()

    def forward(self, ids, mask, types):
        output = self.model(ids, attention_mask=mask, token_type_ids=types, return_dict=True)
        return output.start_logits, output.end_logits

def tower(weight, bias, ids, mask):
    """As neuronc's own graphs: the weights come first, as inputs."""
    rows = torch.nn.functional.embedding(ids, weight) * mask.unsqueeze(-1).float()
    hidden = torch.matmul(rows, weight.t()[:, :16]) + bias
    return torch.softmax(hidden, -1).sum(1)

class Bound(torch.nn.Module):
    """Weights of a TorchScript graph bound as parameters of an ordinary module around it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.weight, self.bias = torch.nn.Parameter(torch.randn(64, 16)), torch.nn.Parameter(torch.randn(16))
        example = (self.weight.detach().clone(), self.bias.detach().clone(), torch.ones(2, 8).long(), torch.ones(2, 8).long())
        self.graph = torch.jit.trace(tower, example)

    def forward(self, ids, mask):
        return self.graph(self.weight, self.bias, ids, mask)

def inputs(name, batch, sequence, seed):
    torch.manual_seed(seed)
    ids = torch.randint(0, 60, (batch, sequence))
    mask = torch.ones_like(ids)
    mask[0, sequence // 2 :] = 0
    return (ids, mask, (mask == 0).long()) if name == "Answers" else (ids, mask)
'''

TRACE = r'''
import json, os
name, path, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
batch, sequence = options.pop("bucket", [2, 8])
double = __import__(DOUBLE)
module = globals()[name]()
traced = double.trace(module, inputs(name, batch, sequence, 3), **options)
torch.jit.save(traced, path)
other = inputs(name, batch, sequence, 4)
with torch.no_grad():
    torch.save(module(*other), path + ".expected")
'''

RUN = r'''
__import__(DOUBLE)
name, path = sys.argv[1:3]
batch, sequence = json.loads(sys.argv[3])
model = torch.jit.load(path)
result = model(*inputs(name, batch, sequence, 4))
expected = torch.load(path + ".expected")
tuples = [value if isinstance(value, tuple) else (value,) for value in (result, expected)]
print("difference", max(float((a - b).abs().max()) for a, b in zip(*tuples)))
'''


class Environment:
    def __init__(self, kind, folder, *options):
        command = [sys.executable, "-B", HERE / "make_environment.py", kind, folder, *options]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(made.stderr)
        self.kind, self.folder = kind, folder
        self.paths = json.loads(made.stdout)
        self.double = {"inf1": "torch_neuron", "neuronx": "torch_neuronx", "placeholder": "torch_neuron"}[kind]
        self.devices = folder / "devices"
        (self.devices / "dev").mkdir(parents=True)

    def faults(self, **settings):
        pathlib.Path(self.paths["faults"]).write_text(json.dumps(settings))

    def python(self, code, *arguments, timeout=FIRST_TIMEOUT, device=True, **variables):
        environment = {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(self.folder), **variables}
        device_file = self.devices / "dev" / "neuron0"
        device_file.touch() if device else device_file.unlink(missing_ok=True)
        environment["NEURON_DOUBLE_DEVICE_ROOT"] = str(self.devices)
        text = f"MINILM = {str(MINILM)!r}\nDOUBLE = {self.double!r}\nimport json\n{code}"
        command = [self.paths["python"], "-I", "-c", text, *map(str, arguments)]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout)

    def trace(self, name, path, device=False, timeout=FIRST_TIMEOUT, **options):
        if self.kind == "neuronx":
            options.setdefault("compiler_args", ["--target", "inf2"])
            options.setdefault("cpu_backend", True)
        options = {key: value for key, value in options.items() if value is not None}
        return self.python(MODELS + TRACE, name, path, json.dumps(options), timeout=timeout, device=device)

    def run(self, name, path, bucket=(2, 8), **more):
        return self.python(MODELS + RUN, name, path, json.dumps(bucket), **more)


def check(what, holds, process=None):
    print(f"{'ok  ' if holds else 'FAIL'} {what}", flush=True)
    if not holds:
        if process is not None:
            print(f"exit {process.returncode}\n{process.stdout[-4000:]}\n{process.stderr[-6000:]}")
        sys.exit(1)


def figures(log):
    """compiled, before, and the sums of the two lists of an inf1 log."""
    before, compiled = map(int, re.search(r"post-compilation\) before = (\d+), compiled = (\d+)", log).groups())
    first, _, second = log.partition("Not compiled operators")
    total = [sum(map(int, re.findall(r"=> \w+::\w+: (\d+)", part))) for part in (first, second)]
    return compiled, before, total


def numbers(environment, folder):
    names = ["Answers", "Bound"] + (["MiniLM"] if MINILM.exists() else [])
    if not MINILM.exists():
        print(f"skip MiniLM: there is no {MINILM} (scripts/demo-model.sh)")
    for name in names:
        path = folder / f"{name}.pt"
        traced = environment.trace(name, path)
        check(f"{name} is traced", traced.returncode == 0, traced)
        check(f"{name}: the compiler's process prints its status", "Compiler status PASS" in traced.stdout, traced)
        if environment.kind == "inf1":
            compiled, before, lists = figures(traced.stderr)
            check(f"{name}: {compiled} of {before} are the sums of the lists", lists == [compiled, before - compiled], traced)
            check(f"{name}: aten::embedding is on the host", "=> aten::embedding" in traced.stderr.partition("Not compiled")[2])
        ran = environment.run(name, path)
        difference = re.search(r"difference (\S+)", ran.stdout)
        check(f"{name} runs as torch does", difference and float(difference[1]) < 1e-4, ran)
        alone = environment.python("import sys, torch\ntorch.jit.load(sys.argv[1])", path)
        check(f"{name} needs the plugin", "Unknown builtin op: neuron::forward" in alone.stderr or "neuron.Model" in alone.stderr, alone)
        wrong = environment.run(name, path, (3, 8))
        # On inf1 an operator of the host may see it first.
        texts = ["Incorrect tensor shape"] + ["must match the size"] * (environment.kind == "inf1")
        check(f"{name} refuses another shape", any(text in wrong.stderr for text in texts), wrong)


def refusals(environment, folder):
    path = folder / "refused.pt"
    flags = {"inf1": ("--fast-math", "fp32-cast-matmul"), "neuronx": ("--auto-cast", "matmul")}[environment.kind]
    target = ["--target", "inf2"] if environment.kind == "neuronx" else []
    refused = environment.trace("Bound", path, compiler_args=[*target, *flags])
    check("a wrong value of a flag is refused", refused.returncode != 0 and "invalid choice" in refused.stderr, refused)
    refused = environment.trace("Bound", path, compiler_args=[*target, "--neuron-core-pipeline-cores", "1"])
    check("an unknown flag is refused", refused.returncode != 0 and "unrecognized arguments" in refused.stderr, refused)
    if environment.kind == "inf1":
        environment.faults(limit_bytes=100)
        refused = environment.trace("Bound", path)
        check("too many constants are refused", "Error parsing message with type" in refused.stderr, refused)
        passed = environment.trace("Bound", path, separate_weights=True)
        check("separate_weights helps", passed.returncode == 0 and "--io-config" not in passed.stderr, passed)
        return environment.faults()
    unknown = environment.trace("Bound", path, compiler_arg="x")
    check("an unknown keyword is refused", "unexpected keyword argument" in unknown.stderr, unknown)
    refused = environment.trace("Bound", path, compiler_args=[])
    check("cpu_backend needs a target", "--target" in refused.stderr and refused.returncode != 0, refused)
    refused = environment.trace("Bound", path, compiler_args=["--target", "inf1"])
    check("a wrong target is refused", "argument --target: invalid choice: 'inf1'" in refused.stderr, refused)
    refused = environment.trace("Bound", path, cpu_backend=False)
    check("without a device cpu_backend is needed", "could not be initialized" in refused.stderr, refused)
    environment.faults(limit_bytes=100)
    refused = environment.trace("Bound", path)
    check("a large HLO is refused", "Failed to serialize proto" in refused.stderr, refused)
    environment.faults()
    code = f"import torch, {environment.double} as n\nprint(json.dumps(n.analyze(lambda x: torch.fft.fft(x).abs() + 1, torch.rand(4))))"
    analyzed = environment.python(code, device=False)
    check("analyze counts", '"aten::fft_fft"' in analyzed.stdout and '"support_percentage": "66.67%"' in analyzed.stdout, analyzed)


COMPILE_FAULTS = {
    # fault: (neuronx: in the output; inf1: in the output)
    "internal-error": ("failed with 70", "Compiler status ERROR"),
    "killed": ("failed with -9", "Compile command returned: -9"),
    "out-of-memory": ("[F137]", "Non-zero exit status (137)"),
    "device-memory": ("[NCC_EOOM002]", "Non-zero exit status (137)"),
    "unsupported": ("[NCC_EVRF001] Operator topk", "Unsupported operator: topk"),
    "no-artifact": ("No such file", "No such file"),
    "aborted": ("failed with -6", "Compile command returned: -6"),
}


def compile_faults(environment, folder):
    path = folder / "fault.pt"
    for fault, texts in COMPILE_FAULTS.items():
        environment.faults(compile=fault)
        failed = environment.trace("Bound", path)
        text = texts[environment.kind == "inf1"]
        check(f"fault {fault}", failed.returncode == 1 and text in failed.stdout + failed.stderr, failed)
        if environment.kind == "inf1":
            check(f"fault {fault}: nothing is compiled", "No operations were successfully partitioned" in failed.stderr, failed)
    environment.faults(compile="script-killed")
    killed = environment.trace("Bound", path)
    check("fault script-killed", killed.returncode == -9, killed)
    environment.faults(compile="print:5000000")
    printed = environment.trace("Bound", path)
    check("fault print", printed.returncode == 0 and len(printed.stdout) > 5_000_000)
    environment.faults(compile="hang")
    try:
        environment.trace("Bound", path, timeout=25)
        check("fault hang", False)
    except subprocess.TimeoutExpired as error:
        check("fault hang", b"." in (error.stdout or b""))
    environment.faults(compile=[{"fault": "killed", "when": {"batch": 8}}])
    check("a fault for one bucket leaves others alone", environment.trace("Bound", path).returncode == 0)
    check("a fault for one bucket", environment.trace("Bound", path, bucket=[8, 8]).returncode == 1)
    environment.faults(compile="damaged")
    check("fault damaged: the trace goes through", environment.trace("Bound", path).returncode == 0)
    environment.faults()
    damaged = environment.run("Bound", path)
    check("fault damaged: it does not load", "Could not load the model status=2" in damaged.stderr, damaged)


def runtime_faults(environment, folder):
    path = folder / "Bound.pt"
    for fault, text in {
        "busy": "NeuronCore(s) not available",
        "allocation": "status=4 message=Allocation Failure",
        "neff-version": "NEFF version mismatch supported",
        "exec:1202": "nrt_execute status=1202",
    }.items():
        environment.faults(runtime=fault)
        failed = environment.run("Bound", path)
        check(f"fault {fault}", failed.returncode == 1 and text in failed.stderr, failed)
    environment.faults(runtime="nan")
    check("fault nan", "difference nan" in environment.run("Bound", path).stdout)
    environment.faults(runtime="off:0.25")
    check("fault off", "difference 0.25" in environment.run("Bound", path).stdout)
    environment.faults()
    none = environment.run("Bound", path, device=False)
    text = {"inf1": "NOT CALCULATED", "neuronx": "could not be initialized"}[environment.kind]
    check("without a device nothing is computed", text in none.stderr and "difference 0.0" not in none.stdout, none)
    apart = environment.run("Bound", path, NEURON_RT_VISIBLE_CORES="0,2")
    check("cores must be contiguous", "not contiguous" in apart.stderr, apart)


def main():
    kind = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        environment = Environment(kind, folder / "environment")
        numbers(environment, folder)
        refusals(environment, folder)
        compile_faults(environment, folder)
        runtime_faults(environment, folder)
        bare = Environment(kind, folder / "bare", "--plugin", "needs-libnrt")
        failed = bare.python(f"import {bare.double}")
        check("the variant needs-libnrt does not load", "libnrt.so.1: cannot open shared object file" in failed.stderr, failed)
        placeholder = Environment("placeholder", folder / "placeholder")
        failed = placeholder.python("import torch_neuron")
        check("the placeholder says so", "ImportError: WRONG PACKAGE" in failed.stderr, failed)


main()
