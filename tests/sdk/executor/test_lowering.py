"""torch-xla lowers graphs and models, and its numbers are those of libtorch."""

import pathlib
import unittest

import settings
from test_compiling import references

BATCH, SEQUENCE = 3, 24

# XLA and libtorch add in other orders.
DIFFERENCE_MAX = 1e-4


class Lowering(unittest.TestCase):
    def test_xla_agrees_with_libtorch(self):
        name, model = "neuronx", "distilbert-question-answering"
        description, _, _ = settings.traced(name, model)
        folder = settings.scratch("lowered")
        modules = []
        specs = [(1, 16, settings.graph_module(name, model, 1, 16))]
        specs += [(BATCH, SEQUENCE, settings.graph_module(name, model, BATCH, SEQUENCE))]
        specs += [(BATCH, SEQUENCE, settings.transformers_module(name, model))]
        for index, (batch, sequence, module) in enumerate(specs):
            modules.append(
                {
                    "bucket": {"sequence": sequence, "batch": batch},
                    "module": module,
                    "hlo": str(folder / "{}.hlo".format(index)),
                    "outputs": str(folder / "{}.safetensors".format(index)),
                }
            )
        # A row that only the larger buckets hold.
        long_row = {"ids": list(range(10, 30)), "type_ids": [0] * 20, "position": 3}
        rows = settings.ROWS + [long_row]
        environment = settings.environment(name)
        job = {"inputs": description["inputs"], "pad_id": description["pad_id"], "modules": modules, "rows": rows}
        result = environment.run("lower", job)
        self.assertEqual(result.last["event"], "done", result.log)
        self.assertEqual(len(result.of("lowered")), len(modules))
        wanted = references(name, model)
        for module, event in zip(modules, result.of("lowered")):
            self.operators_are_those_of_the_text(pathlib.Path(module["hlo"]).read_text(), event)
            outputs = environment.script("read_outputs.py", module["outputs"])
            fits = [i for i, row in enumerate(rows) if len(row["ids"]) <= module["bucket"]["sequence"]]
            self.assertEqual(sorted(outputs), [str(i) for i in fits])
            for index, row in enumerate(wanted):
                shape, values = outputs[str(index)]
                self.assertEqual(shape, [module["bucket"]["batch"], module["bucket"]["sequence"], 2])
                difference = max(abs(a - b) for a, b in zip(values, row))
                self.assertLess(difference, DIFFERENCE_MAX * max(1.0, max(map(abs, row))))

    def operators_are_those_of_the_text(self, text, event):
        operators = event["operators"]
        self.assertGreater(event["bytes"], 1000)
        # Counted in another way than the executor does.
        opcodes = {"Exp": "exponential", "Gather": "gather", "Mul": "multiply", "Div": "divide", "Erf": "erf"}
        for name, opcode in opcodes.items():
            self.assertGreater(operators[name], 0)
            self.assertEqual(operators[name], text.count(" {}(".format(opcode)), name)
        products = operators.get("Dot", 0) + operators.get("DotGeneral", 0)
        # Two layers of six products and two of attention, and the head.
        self.assertEqual((products, text.count(" dot(")), (17, 17))
        self.assertGreaterEqual(operators["DotGeneral"], 4)
        self.assertNotIn("Parameter", operators)
        self.assertEqual([name for name in operators if not name.isalnum()], [])
        # Weights are parameters: no constant is larger than a line.
        self.assertLess(max(len(line) for line in text.splitlines() if " constant(" in line), 200)


if __name__ == "__main__":
    unittest.main()
