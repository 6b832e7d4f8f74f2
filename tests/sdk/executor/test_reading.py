"""What is read of a model's folder, what is refused, and the form of jobs and events."""

import io
import json
import os
import pathlib
import pickle
import shutil
import tarfile
import unittest

import jobs
import settings
from test_compiling import read_references as references

MODEL = "distilbert-feature-extraction"


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def copy_of(name, label):
    """A copy of the model that a test may change."""
    folder = settings.scratch("reading", label) / "model"
    shutil.copytree(settings.models(name)[0] / MODEL, folder)
    return folder


def job(model, **changes):
    module = {"module": "transformers", "folder": str(model), "head": settings.head_of(MODEL), "attention": "explicit"}
    made = {
        "module": module,
        "inputs": ["input_ids", "attention_mask"],
        "pad_id": 0,
        "output": settings.output_of(settings.task_of(MODEL)),
        "graphs": [],
        "references": settings.ROWS,
        "folder": str(pathlib.Path(model).parent),
    }
    return dict(made, **changes)


class Reading(unittest.TestCase):
    def fails(self, result, kind, *texts):
        self.assertEqual((result.last["event"], result.status), ("failed", 1), result.log)
        self.assertEqual(result.last["class"], kind, result.last)
        for text in texts:
            self.assertIn(text, result.last["message"])

    def reads_pickles(self, name):
        folder = copy_of(name, name + "-pickle")
        settings.environment(name).script("pickle_model.py", folder)
        self.assertFalse((folder / "model.safetensors").exists())
        result = settings.environment(name).run("trace", job(folder))
        self.assertEqual(result.last["event"], "done", result.log)
        whole = settings.scratch("reading", name + "-whole")
        settings.environment(name).run("trace", job(settings.models(name)[0] / MODEL, folder=str(whole)))
        # Memory that starts elsewhere is added up in another order.
        for one, other in zip(references(folder.parent), references(whole)):
            self.assertLess(max(abs(a - b) for a, b in zip(one, other)), 1e-5)

    def test_inf1_reads_pickles(self):
        self.reads_pickles("inf1")

    def test_neuronx_reads_pickles(self):
        self.reads_pickles("neuronx")

    def runs_no_pickled_code(self, name):
        folder = copy_of(name, name + "-bomb")
        (folder / "model.safetensors").unlink()
        mark = folder / "exploded"
        settings.environment(name).script("pickle_model.py", folder, mark)
        self.fails(settings.environment(name).run("trace", job(folder)), "input")
        self.assertFalse(mark.exists())

    def test_inf1_runs_no_pickled_code(self):
        self.runs_no_pickled_code("inf1")

    def test_neuronx_runs_no_pickled_code(self):
        self.runs_no_pickled_code("neuronx")

    def test_a_tar_archive_is_refused(self):
        folder = copy_of("inf1", "tar")
        (folder / "model.safetensors").unlink()
        mark = folder / "exploded"
        content = pickle.dumps(Bomb(mark))
        with tarfile.open(str(folder / "pytorch_model.bin"), "w", format=tarfile.PAX_FORMAT) as archive:
            for each in ("storages", "tensors", "pickle"):
                entry = tarfile.TarInfo(each)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        self.fails(settings.environment("inf1").run("trace", job(folder)), "input", "tar archive")
        self.assertFalse(mark.exists())

    def test_code_of_a_model_is_refused(self):
        folder = copy_of("inf1", "auto-map")
        config = json.loads((folder / "config.json").read_text())
        mark = folder / "ran"
        (folder / "evil.py").write_text("import os\nos.mkdir({!r})\n".format(str(mark)))
        config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
        (folder / "config.json").write_text(json.dumps(config))
        environment = settings.environment("inf1")
        head = settings.head_of(MODEL)
        described = environment.run("describe", {"folder": str(folder), "head": head})
        for result in (described, environment.run("trace", job(folder))):
            self.fails(result, "input", "needs code of its own", "evil.Model")
        self.assertFalse(mark.exists())

    def test_weights_that_no_file_holds_are_named_where_they_matter(self):
        module = settings.transformers_module("inf1", MODEL)
        module["head"] = {"task": "question-answering"}
        folder = str(settings.scratch("reading", "headless"))
        output = settings.output_of("question-answering")
        made = job(module["folder"], module=module, output=output, folder=folder)
        result = settings.environment("inf1").run("trace", made)
        self.fails(result, "input", "lack weights", "qa_outputs.weight")

    def test_a_task_that_the_model_has_not_is_refused(self):
        folder = str(settings.models("inf1")[0] / "gpt2-feature-extraction")
        made = {"folder": folder, "head": {"task": "fill-mask", "tied": True}}
        result = settings.environment("inf1").run("describe", made)
        self.fails(result, "input", "`gpt2`", "fill-mask")

    def test_files_outside_of_the_folder_are_refused(self):
        graphs = [{"bucket": {"sequence": 8, "batch": 1}, "file": "../outside.pt", "self_contained": None}]
        folder = settings.scratch("reading", "inside")
        made = job(settings.models("inf1")[0] / MODEL, graphs=graphs, folder=str(folder))
        self.fails(settings.environment("inf1").run("trace", made), "input", "../outside.pt")
        self.assertFalse((folder.parent / "outside.pt").exists())

    def test_another_protocol_and_what_is_no_job_are_refused(self):
        environment = settings.environment("inf1")
        result = environment.run("probe", {"modules": []}, protocol=1)
        self.fails(result, "input", "protocol 1, this executor speaks {}".format(jobs.PROTOCOL))
        self.assertEqual(result.events[0]["event"], "started")
        self.assertEqual(result.events[0]["protocol"], jobs.PROTOCOL)
        for text in (b"", b"[]", b"{", b"\xff"):
            self.fails(environment.run("probe", text), "input")
        self.fails(environment.run("compile", {}), "input", "the job has no `bucket`")


class Probing(unittest.TestCase):
    def test_an_environment_tells_what_it_has(self):
        result = settings.environment("inf1").run("probe", {"modules": ["torch", "torch_neuron", "torch_neuronx"]})
        (probed,) = result.of("probed")
        self.assertTrue(probed["torch"].startswith("1.13."))
        self.assertIsInstance(probed["cxx11_abi"], bool)
        self.assertEqual(list(probed["missing"]), ["torch_neuronx"])
        self.assertIn("torch-neuron", probed["packages"])
        self.assertIn("transformers", probed["packages"])
        self.assertTrue(any(path.endswith("site-packages") for path in probed["site_packages"]))
        self.assertEqual(os.path.realpath(probed["executable"]), os.path.realpath(settings.environment("inf1").python))

    def test_the_placeholder_package_is_told_from_the_real_one(self):
        result = settings.environment("placeholder").run("probe", {"modules": ["torch_neuron"]})
        (probed,) = result.of("probed")
        self.assertIn("WRONG PACKAGE", probed["missing"]["torch_neuron"])


if __name__ == "__main__":
    unittest.main()
