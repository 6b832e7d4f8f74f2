"""Graphs of eight families are equal to transformers, in both environments."""

import json
import unittest
from concurrent.futures import ThreadPoolExecutor

import settings

# In parts of the largest number of an output.
DIFFERENCE_MAX = 1e-5

# Where `settings.traced` puts a bucket's graph and the TorchScript with the weights inside.
FORMS = ("graphs/b{}_s{}.pt", "self-contained/b{}_s{}.pt")

# torch 2.9 takes seconds to import; every task of every family is traced with 1.13, but for ModernBERT, which its
# transformers does not have.
ONE_OF_EACH_FAMILY = [
    "distilbert-question-answering",
    "roberta-fill-mask",
    "albert-token-classification",
    "mpnet-feature-extraction",
    "deberta-v2-text-classification",
    "electra-token-classification",
    "modernbert-fill-mask",
    "gpt2-text-classification",
]


class Tracing(unittest.TestCase):
    def equal_to_transformers(self, name, models):
        environment = settings.environment(name)
        # The interpreters take longer to start than to trace.
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda model: settings.traced(name, model), models))
        folder = settings.models(name)[0]
        cases = []
        for model, (description, result, traced) in zip(models, made):
            (weights,) = result.of("weights")
            self.assertEqual(result.of("references")[0]["rows"], len(settings.ROWS))
            self.assertEqual(len(result.of("graph")), len(settings.BUCKETS))
            self.assertEqual(weights["bytes"], (traced / "weights.safetensors").stat().st_size)
            cases.append(
                {
                    "model": str(folder / model),
                    "task": settings.task_of(model),
                    "inputs": description["inputs"],
                    "pad_id": description["pad_id"],
                    "folder": str(traced),
                    "names": weights["names"],
                    "files": [
                        [batch, sequence] + [form.format(batch, sequence) for form in FORMS]
                        for batch, sequence in settings.BUCKETS
                    ],
                    "rows": settings.ROWS,
                }
            )
        path = settings.scratch(name) / "cases.json"
        path.write_text(json.dumps(cases))
        found = environment.script("compare.py", path)
        self.assertEqual(sorted(found), sorted(models))
        for model, each in found.items():
            with self.subTest(model=model):
                self.assertIsInstance(each["difference"], float)
                self.assertLess(each["difference"], DIFFERENCE_MAX)
                self.assertEqual(each["twice"], 0, "a tied weight is stored twice")
                self.assertLessEqual(set(each["devices"]), {"cpu"})

    def test_inf1_graphs_equal_transformers(self):
        self.equal_to_transformers("inf1", settings.models("inf1")[1])

    def test_neuronx_graphs_equal_transformers(self):
        self.assertLessEqual(set(ONE_OF_EACH_FAMILY), set(settings.models("neuronx")[1]))
        self.equal_to_transformers("neuronx", ONE_OF_EACH_FAMILY)

    def test_inputs_and_bounds_are_those_of_the_models(self):
        found = {}
        for model in (
            "roberta-fill-mask",
            "gpt2-feature-extraction",
            "electra-question-answering",
            "mpnet-feature-extraction",
            "deberta-v2-text-classification",
        ):
            description, _, _ = settings.traced("inf1", model)
            found[model] = (description["inputs"], description["pad_id"], description["max_tokens"])
        ids, mask, types = "input_ids", "attention_mask", "token_type_ids"
        self.assertEqual(
            found,
            {
                # Two of the forty positions of RoBERTa and MPNet are below and at padding's.
                "roberta-fill-mask": ([ids, mask, "position"], 1, 38),
                "mpnet-feature-extraction": ([ids, mask], 1, 38),
                # The forward of GPT-2 and DeBERTa would take token types.
                "gpt2-feature-extraction": ([ids, mask], 96, 40),
                "deberta-v2-text-classification": ([ids, mask], 0, 40),
                "electra-question-answering": ([ids, mask, types], 0, 40),
            },
        )

    def test_the_layout_of_the_output_is_found_and_checked(self):
        found = {}
        for model in ("roberta-fill-mask", "mpnet-feature-extraction", "albert-token-classification"):
            _, result, _ = settings.traced("inf1", model)
            output = result.of("references")[0]["output"]
            found[model] = (output["per"], output["width"], output["dtype"])
        self.assertEqual(
            found,
            {
                "roberta-fill-mask": ("sample", 97, "f32"),
                "mpnet-feature-extraction": ("sample", 32, "f32"),
                "albert-token-classification": ("token", 3, "f32"),
            },
        )
        model = "albert-token-classification"
        description, _, _ = settings.traced("inf1", model)
        module = settings.transformers_module("inf1", model)
        for planned, expected in (
            ({"per": "token", "width": 5, "dtype": "f32"}, "[1, 5, 5]"),
            ({"per": "sample", "width": None, "dtype": "f32"}, "[1, width]"),
        ):
            folder = settings.scratch("inf1", "other-layout")
            job = settings.trace_job(module, description, planned, folder)
            result = settings.environment("inf1").run("trace", job)
            self.assertEqual((result.last["event"], result.last["class"]), ("failed", "input"), result.log)
            for part in ("[1, 5, 3]", expected, "3 labels"):
                self.assertIn(part, result.last["message"])

    def test_tied_and_unused_weights_are_not_stored(self):
        _, result, _ = settings.traced("inf1", "roberta-fill-mask")
        names = result.of("weights")[0]["names"]
        self.assertIn("roberta.embeddings.word_embeddings.weight", names)
        self.assertNotIn("lm_head.decoder.weight", names)
        _, result, _ = settings.traced("inf1", "mpnet-feature-extraction")
        self.assertFalse([name for name in result.of("weights")[0]["names"] if "pooler" in name])


if __name__ == "__main__":
    unittest.main()
