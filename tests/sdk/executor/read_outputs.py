"""Prints a safetensors file as JSON, each tensor as its shape and its numbers: `python read_outputs.py FILE`."""

import json
import sys

from safetensors.torch import load_file

print(json.dumps({name: [list(t.shape), t.reshape(-1).tolist()] for name, t in load_file(sys.argv[1]).items()}))
