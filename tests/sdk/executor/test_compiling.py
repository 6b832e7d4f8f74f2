"""Compilation with the doubles of both SDKs, and the worker that runs what comes of it."""

import json
import pathlib
import struct
import unittest

import jobs
import settings

BATCH, SEQUENCE = 3, 24
EXAMPLE = settings.ROWS[1]

GENERATIONS = {
    "inf1": {
        "compiler": "torch-neuron",
        "module": "torch_neuron",
        "args": ["--fast-math", "fp32-cast-matmult", "--neuroncore-pipeline-cores", "1"],
        "options": {"optimizations": ["float32-to-float16"]},
    },
    "neuronx": {
        "compiler": "torch-neuronx",
        "module": "torch_neuronx",
        "args": ["--target", "inf2", "--auto-cast", "matmult", "--auto-cast-type", "bf16", "--optlevel", "2"],
        "options": {},
    },
}


def job_for(name, module, label, **changes):
    """A compile job for a module of the model in `label`, in a folder of its own."""
    model, _ = label
    description, _, _ = settings.traced(name, model)
    folder = settings.scratch(name, "compiled", "-".join(label))
    generation = GENERATIONS[name]
    job = {
        "compiler": generation["compiler"],
        "module": module,
        "inputs": description["inputs"],
        "pad_id": description["pad_id"],
        "bucket": {"sequence": SEQUENCE, "batch": BATCH},
        "example": EXAMPLE,
        "compiler_args": generation["args"],
        "trace_options": {},
        "device": False,
        "artifact": str(folder / "artifact.pt"),
        "analysis": None,
        "work": str(folder / "work"),
    }
    return dict(job, **changes)


def device_root():
    """A folder with one device of the double."""
    root = settings.scratch("device")
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev" / "neuron0").touch()
    return str(root)


def inputs_of(description, row, slot=0):
    """The input tensors of the bucket with a row in a slot, for a worker."""
    tensors = []
    for name in description["inputs"]:
        if name == "position":
            values = [0] * BATCH
            values[slot] = row["position"]
            tensors.append(([BATCH], values))
            continue
        values = [description["pad_id"] if name == "input_ids" else 0] * (BATCH * SEQUENCE)
        line = {"input_ids": row["ids"], "attention_mask": [1] * len(row["ids"])}.get(name, row["type_ids"])
        values[slot * SEQUENCE : slot * SEQUENCE + len(line)] = line
        tensors.append(([BATCH, SEQUENCE], values))
    return tensors


def references(name, model):
    """The reference outputs of a model that `settings.traced` has made."""
    return read_references(settings.traced(name, model)[2])


def read_references(folder):
    """The reference outputs in a folder, read without any library."""
    content = (folder / "reference.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    found = []
    for index in range(len(settings.ROWS)):
        start, end = header[str(index)]["data_offsets"]
        found.append(struct.unpack("<{}f".format((end - start) // 4), content[8 + size + start : 8 + size + end]))
    return found


class Compiling(unittest.TestCase):
    def compiles(self, name, module, label, **changes):
        job = job_for(name, module, label, **changes)
        result = settings.environment(name).run("compile", job)
        self.assertEqual(result.last["event"], "done", "{}\n{}".format(result.last, result.log))
        stages = [event["stage"] for event in result.of("stage")]
        analyzing = ["analyzing"] if job["analysis"] else []
        self.assertEqual(stages, ["loading"] + analyzing + ["compiling", "saving", "checking"])
        (artifact,) = result.of("artifact")
        self.assertEqual(artifact["bytes"], pathlib.Path(job["artifact"]).stat().st_size)
        self.assertEqual(artifact["bucket"], job["bucket"])
        self.assertFalse(artifact["ran"])
        self.assertEqual([path.name for path in pathlib.Path(job["artifact"]).parent.glob("*.pt*")], ["artifact.pt"])
        return job, result

    def serves(self, name, model, artifacts):
        """Artifacts of a model answer what the model's references say, in the SDK's interpreter."""
        environment = settings.environment(name)
        environment.set_faults(device_root=device_root())
        description, _, _ = settings.traced(name, model)
        worker = environment.worker()
        bucket = {"sequence": SEQUENCE, "batch": BATCH}
        load = {
            "request": "load",
            "protocol": jobs.PROTOCOL,
            "module": GENERATIONS[name]["module"],
            "artifacts": [{"bucket": bucket, "file": artifact} for artifact in artifacts],
            "weights": "",
            "weight_names": [],
            "threads": 1,
        }
        self.assertEqual(worker.ask(load), ({"reply": "loaded"}, []))
        for artifact in range(len(artifacts)):
            for index, (row, wanted) in enumerate(zip(settings.ROWS, references(name, model))):
                slot = index % BATCH
                tensors = inputs_of(description, row, slot)
                reply, outputs = worker.ask({"request": "run", "id": index, "artifact": artifact}, tensors)
                self.assertEqual((reply["reply"], reply.get("id")), ("output", index), reply)
                ((shape, values),) = outputs
                self.assertEqual(shape[0], BATCH)
                width = len(values) // BATCH
                found = values[slot * width : (slot + 1) * width][: len(wanted)]
                bound = 1e-4 * max(1.0, max(abs(each) for each in wanted))
                self.assertLess(max(abs(a - b) for a, b in zip(found, wanted)), bound)
        self.runs_fail_and_the_worker_stays(worker, environment, description, load)
        status, printed, log = worker.close()
        self.assertEqual((status, printed), (0, ""), log)

    def runs_fail_and_the_worker_stays(self, worker, environment, description, load):
        good = inputs_of(description, EXAMPLE)
        for artifact, tensors, text in (
            (9, good, "there is no artifact 9"),
            (0, [([1, 4], [1, 2, 3, 4])], "got no input of its shape"),
        ):
            reply, _ = worker.ask({"request": "run", "id": 70, "artifact": artifact}, tensors)
            self.assertEqual((reply["reply"], reply["id"]), ("failed", 70))
            self.assertIn(text, reply["message"])
        environment.set_faults(device_root=device_root(), runtime="exec:1005")
        reply, _ = worker.ask({"request": "run", "id": 71, "artifact": 0}, good)
        self.assertEqual((reply["reply"], reply["id"]), ("failed", 71), reply)
        self.assertIn("1005", reply["message"])
        environment.set_faults(device_root=device_root())
        reply, _ = worker.ask({"request": "run", "id": 72, "artifact": 0}, good)
        self.assertEqual(reply["reply"], "output")
        # A later load may fail, and unloading ends nothing.
        reply, _ = worker.ask(dict(load, artifacts=[{"bucket": load["artifacts"][0]["bucket"], "file": "/no/file"}]))
        self.assertEqual((reply["reply"], reply["id"]), ("failed", None), reply)
        for _ in range(2):
            reply, _ = worker.ask({"request": "unload", "first": 0, "count": 1})
            self.assertEqual(reply, {"reply": "unloaded"})
        reply, _ = worker.ask({"request": "run", "id": 73, "artifact": 0}, good)
        self.assertEqual((reply["id"], reply["message"]), (73, "artifact 0 was unloaded"))

    def all_modules(self, name):
        model = "distilbert-question-answering"
        analysis = str(settings.scratch(name, "analysis") / "analysis.json")
        graph, result = self.compiles(
            name,
            settings.graph_module(name, model, BATCH, SEQUENCE),
            (model, "graph"),
            trace_options=GENERATIONS[name]["options"],
            analysis=analysis,
        )
        self.assertIsInstance(json.loads(pathlib.Path(analysis).read_text()), dict)
        whole, _ = self.compiles(name, settings.transformers_module(name, model), (model, "transformers"))
        script, _ = self.compiles(
            name, settings.torchscript_module(name, model, BATCH, SEQUENCE), (model, "torchscript")
        )
        self.serves(name, model, [each["artifact"] for each in (graph, whole, script)])
        return result

    def test_inf1_compiles_every_module(self):
        result = self.all_modules("inf1")
        # The lines from which neuronc reads coverage, in the default layout and each once.
        line = "INFO:Neuron:Number of arithmetic operators (post-compilation) before = "
        self.assertEqual(result.log.count(line), 1, result.log)

    def test_neuronx_compiles_every_module(self):
        result = self.all_modules("neuronx")
        self.assertIn("Compiler status PASS", result.log)

    def runs_on_a_device(self, name):
        model = "distilbert-question-answering"
        module = settings.graph_module(name, model, BATCH, SEQUENCE)
        environment = settings.environment(name)
        environment.set_faults(device_root=device_root())
        result = environment.run("compile", job_for(name, module, (model, "device"), device=True))
        self.assertEqual(result.last["event"], "done", "{}\n{}".format(result.last, result.log))
        self.assertTrue(result.of("artifact")[0]["ran"])

    def test_inf1_runs_on_a_device(self):
        self.runs_on_a_device("inf1")

    def test_neuronx_runs_on_a_device(self):
        self.runs_on_a_device("neuronx")

    def fails(self, name, kind, texts, device=False, changes=None, **faults):
        model = "distilbert-question-answering"
        module = settings.graph_module(name, model, BATCH, SEQUENCE)
        environment = settings.environment(name)
        if device:
            faults["device_root"] = device_root()
        environment.set_faults(**faults)
        self.failed = getattr(self, "failed", 0) + 1
        job = job_for(name, module, (model, "fails-{}".format(self.failed)), device=device, **(changes or {}))
        result = environment.run("compile", job)
        self.assertEqual((result.last["event"], result.status), ("failed", 1), result.log)
        self.assertEqual(result.last["class"], kind, "{}\n{}".format(result.last, result.log))
        for text in texts:
            self.assertIn(text, result.last["message"])
        if not device:
            self.assertFalse(pathlib.Path(job["artifact"]).exists())

    def test_inf1_failures_have_their_class(self):
        self.fails("inf1", "compiler", ["No operations were successfully partitioned"], compile="internal-error")
        self.fails("inf1", "compiler", [], compile="nothing-compiled")
        self.fails("inf1", "resources", [], compile="killed")
        nothing = {"minimum_segment_size": 100000, "single_fusion_ratio_threshold": 1.0}
        self.fails("inf1", "compiler", [], changes={"trace_options": nothing})
        returned = dict(nothing, allow_no_ops_on_neuron=True)
        self.fails("inf1", "compiler", ["0 % of the graph was compiled"], changes={"trace_options": returned})
        self.fails("inf1", "input", ["sparse"], changes={"trace_options": {"optimizations": ["sparse"]}})
        self.fails("inf1", "device", [], device=True, runtime="busy")

    def test_neuronx_failures_have_their_class(self):
        self.fails("neuronx", "compiler", ["neuronx-cc failed with 70"], compile="unsupported:topk")
        self.fails("neuronx", "resources", ["-9"], compile="killed")
        self.fails("neuronx", "compiler", ["graph.neff"], compile="no-artifact")
        self.fails("neuronx", "device", [], device=True, runtime="busy")
        self.fails("neuronx", "compiler", [], device=True, compile="damaged")
        self.fails("neuronx", "framework", ["unexpected keyword"], changes={"trace_options": {"fallback": False}})

    def test_the_placeholder_package_is_a_failure_of_the_sdk(self):
        environment = settings.environment("placeholder")
        model = "distilbert-question-answering"
        module = settings.graph_module("inf1", model, BATCH, SEQUENCE)
        result = environment.run("compile", job_for("inf1", module, (model, "placeholder")))
        self.assertEqual(result.last["class"], "sdk")
        self.assertIn("WRONG PACKAGE", result.last["message"])


class LibtorchWorker(unittest.TestCase):
    def test_graphs_with_weights_run_too_and_hostile_frames_end_the_worker(self):
        name, model = "inf1", "distilbert-question-answering"
        description, _, _ = settings.traced(name, model)
        module = settings.graph_module(name, model, BATCH, SEQUENCE)
        environment = settings.environment(name)
        worker = environment.worker()
        load = {
            "request": "load",
            "protocol": jobs.PROTOCOL,
            "artifacts": [{"bucket": {"sequence": SEQUENCE, "batch": BATCH}, "file": module["file"]}],
            "weights": module["weights"],
            "weight_names": module["weight_names"],
            "threads": 1,
        }
        self.assertEqual(worker.ask(load)[0], {"reply": "loaded"})
        reply, ((shape, _),) = worker.ask({"request": "run", "id": 1, "artifact": 0}, inputs_of(description, EXAMPLE))
        self.assertEqual((reply["reply"], shape), ("output", [BATCH, SEQUENCE, 2]))
        worker.send(struct.pack("<II", 1 << 30, 0))
        reply, _ = worker.reply()
        self.assertEqual((reply["reply"], reply["id"]), ("failed", None))
        self.assertIn("exceeds the bound", reply["message"])
        self.assertEqual(worker.close()[0], 1)

    def test_an_artifact_without_its_sdk_says_so(self):
        name, model = "inf1", "distilbert-question-answering"
        module = settings.graph_module(name, model, BATCH, SEQUENCE)
        job = job_for(name, module, (model, "unknown"))
        result = settings.environment(name).run("compile", job)
        self.assertEqual(result.last["event"], "done", result.log)
        worker = settings.environment(name).worker()
        load = {
            "request": "load",
            "protocol": jobs.PROTOCOL,
            "artifacts": [{"bucket": job["bucket"], "file": job["artifact"]}],
            "weights": "",
            "weight_names": [],
            "threads": 1,
        }
        reply, _ = worker.ask(load)
        self.assertEqual((reply["reply"], reply["id"]), ("failed", None))
        self.assertIn("Unknown builtin op: neuron::forward", reply["message"])
        self.assertEqual(worker.close()[0], 1)


if __name__ == "__main__":
    unittest.main()
