"""Measures the release build on this machine and prints a Markdown table: speed of report on a large log,
times of trace and verify, latency and memory of serve, and
what the server does ahead of a simulated device. Give --seconds for how long each load runs."""

import argparse
import array
import http.client
import json
import math
import os
import pathlib
import platform
import random
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
NEURONC = TARGET / "release" / "neuronc"
TEXT = "The harbour master kept a small notebook in which every ship was entered by hand."


def timed(*args):
    start = time.perf_counter()
    answer = subprocess.run([NEURONC, *args], check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.perf_counter() - start, answer


def wall(*args):
    start = time.perf_counter()
    # grep stops at the first match when it writes to /dev/null.
    subprocess.run(args, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - start


def trace(model, bundle, cast):
    shapes = ["--batch-size", "1,4,8", "--sequence-length", "32,128,256", "--auto-cast", cast]
    args = ["trace", model, *shapes, "-o", bundle, "--format", "json"]
    first, answer = timed(*args)
    again, _ = timed(*args)
    millis = [bucket["millis"] for bucket in json.loads(answer)["buckets"]]
    yield f"trace, {len(millis)} buckets, auto-cast {cast}", f"{first:.2f} s"
    yield "of it per bucket, median", f"{statistics.median(millis)} ms"
    yield "trace again, nothing to do", f"{again * 1000:.0f} ms"
    yield "verify", f"{timed('verify', bundle)[0]:.2f} s"


def pss_megabytes(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1]) * 1024 / 1e6


def children(pid):
    threads = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return [child for thread in threads for child in (thread / "children").read_text().split()]


def load(address, name, concurrency, seconds):
    """Closed loop over kept-alive connections; latencies in milliseconds."""
    latencies = []
    ends = time.perf_counter() + seconds
    body = json.dumps({"inputs": TEXT})

    def client():
        connection = http.client.HTTPConnection(address)
        while (start := time.perf_counter()) < ends:
            connection.request("POST", f"/predict/{name}", body)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise SystemExit(f"status {response.status}")
            latencies.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(latencies)


def serve(bundle, cores, concurrency, seconds):
    server = subprocess.Popen(
        [NEURONC, "serve", bundle, "--port", "0", "--cores", str(cores)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        start = time.perf_counter()
        name, address = re.search(r"serving (\S+) on http://(\S+)", server.stdout.readline()).groups()
        while True:
            connection = http.client.HTTPConnection(address)
            connection.request("GET", "/health/ready")
            cores_ready = json.loads(connection.getresponse().read())["cores"]
            if all(core["state"] == "ready" for core in cores_ready):
                break
        ready = time.perf_counter() - start
        load(address, name, concurrency, 1)
        latencies = load(address, name, concurrency, seconds)
        memory = sum(pss_megabytes(pid) for pid in [server.pid, *children(server.pid)])
    finally:
        server.terminate()
        server.wait()
    rank = lambda share: latencies[min(len(latencies) - 1, int(len(latencies) * share))]
    what = f"serve --cores {cores}, concurrency {concurrency}"
    yield f"{what}: ready after", f"{ready:.2f} s"
    yield f"{what}: requests/s", f"{len(latencies) / seconds:.0f}"
    yield f"{what}: p50 / p99", f"{rank(0.5):.1f} / {rank(0.99):.1f} ms"
    yield f"{what}: memory (sum of Pss)", f"{memory:.0f} MB"


def front(bundle, seconds):
    """Everything but the device: the bundle with the times that AWS published for bert-base on inf2.xlarge,
    whose two cores give 2,674 rows/s; texts of 100 to 126 tokens, each a different one."""
    published = 2674.19
    for clients in [1, 32, 64]:
        _, answer = timed(
            "bench", bundle, "--runtime", "simulated", "--timings", "inf2/bert-base-uncased",
            "--concurrency", str(clients), "--words", "90-113", "--duration", f"{seconds * 1000:.0f}ms",
            "--format", "json",
        )
        run = json.loads(answer)["runs"][0]
        latency, usage = run["latency_ms"], run["processors"]
        what = f"simulated inf2.xlarge, concurrency {clients}"
        share = run["per_second"] / published * 100
        yield f"{what}: requests/s, share of the device's", f"{run['per_second']:.0f}, {share:.1f} %"
        yield f"{what}: p50 / p99", f"{latency['p50']:.1f} / {latency['p99']:.1f} ms"
        if usage is None:
            yield f"{what}: processor time", "not known: the run was too short"
            continue
        server, client = usage["server_micros_per_request"], usage["client_micros_per_request"]
        yield f"{what}: processor time of server / load generator", f"{server:.0f} / {client:.0f} us a request"
        yield f"{what}: processors busy with other programs", f"{usage['others']:.2f}"


def random_bert(model, folder):
    """bert-base with random weights and the tokenizer of `model`: what the device computes is not looked at."""
    folder.mkdir()
    for name in ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "modules.json"]:
        shutil.copy(model / name, folder)
    config = json.loads((model / "config.json").read_text())
    hidden, inner, layers = 768, 3072, 12
    config |= {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": 12}
    (folder / "config.json").write_text(json.dumps(config))
    pooling = json.loads((model / "1_Pooling/config.json").read_text()) | {"word_embedding_dimension": hidden}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    shapes = {f"embeddings.{name}.weight": [rows, hidden] for name, rows in [
        ("word_embeddings", config["vocab_size"]), ("position_embeddings", 512), ("token_type_embeddings", 2)]}
    linear = {f"attention.{name}": (hidden, hidden) for name in ["self.query", "self.key", "self.value", "output.dense"]}
    linear |= {"intermediate.dense": (inner, hidden), "output.dense": (hidden, inner)}
    norms = ["embeddings"]
    for layer in range(layers):
        at = f"encoder.layer.{layer}"
        norms += [f"{at}.attention.output", f"{at}.output"]
        for name, shape in linear.items():
            shapes |= {f"{at}.{name}.weight": [*shape], f"{at}.{name}.bias": [shape[0]]}
    for name in norms:
        shapes |= {f"{name}.LayerNorm.weight": [hidden], f"{name}.LayerNorm.bias": [hidden]}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    numbers = random.Random(1)
    block = array.array("f", [numbers.uniform(-0.05, 0.05) for _ in range(65521)]).tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while end > 0:
            file.write(block[:end])
            end -= len(block)
    return folder


def report(place, megabytes):
    """A large log of torch-neuron lines, against counting lines of the same file."""
    log = pathlib.Path(place) / "large.log"
    text = (ROOT / "tests/fixtures/logs/bert.log").read_bytes()
    noise = b"2026-01-01 00:00:00.000001:  4242  INFO ||NEURON_CACHE||: Compile cache path: /var/tmp/cache\n" * 400
    block = (text + noise) * 20
    with log.open("wb") as file:
        for _ in range((megabytes << 20) // len(block)):
            file.write(block)
    size = log.stat().st_size / 1e6
    grep = min(wall("grep", "-c", "Neuron", log) for _ in range(3))
    mine = min(wall(NEURONC, "report", log, "-o", f"{place}/out") for _ in range(3))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    decoding = "import sys; print(sum(1 for _ in open(sys.argv[1], encoding='utf-8')))"
    python = min(wall("python3", "-c", decoding, log) for _ in range(3))
    yield f"report on a log of {size:.0f} MB", f"{size / mine:.0f} MB/s"
    yield "grep -c on the same file", f"{size / grep:.0f} MB/s"
    yield "Python decoding and counting its lines", f"{size / python:.0f} MB/s"
    yield "time of report / grep, / Python", f"{mine / grep:.1f}, {mine / python:.1f}"
    yield "peak memory of either, at most", f"{peak:.0f} MB"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the log")
    parser.add_argument("--build", choices=["release", "debug"], default="release")
    args = parser.parse_args()
    global NEURONC
    NEURONC = TARGET / args.build / "neuronc"
    seconds = args.seconds
    model = subprocess.run([ROOT / "scripts/demo-model.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout
    model = model.strip().splitlines()[-1]
    print(f"{platform.machine()}, {os.cpu_count()} processors, {platform.release()}\n")
    print("| what | measured |\n| --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        for what, value in report(place, args.megabytes):
            print(f"| {what} | {value} |", flush=True)
        bert = f"{place}/bert.bundle"
        source = pathlib.Path(model)
        small = args.build == "debug"
        whole = source if small else random_bert(source, pathlib.Path(place) / "bert")
        timed("trace", whole, "--batch-size", "1,8", "--sequence-length", "128", "-o", bert)
        for what, value in front(bert, seconds):
            print(f"| {what} | {value} |", flush=True)
        for cast in ["none", "matmult"]:
            bundle = f"{place}/{cast}"
            rows = [*trace(model, bundle, cast)]
            for cores, concurrency in [(1, 1), (2, 8)]:
                rows += serve(bundle, cores, concurrency, seconds)
            for what, value in rows:
                print(f"| {what} | {value} |", flush=True)


main()
