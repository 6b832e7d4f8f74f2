"""Turns a model's safetensors into pytorch_model.bin: `python pickle_model.py FOLDER [MARK]`.

With MARK the file holds an object beside the weights that makes that folder when it is unpickled.
"""

import os
import sys

import torch


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def main(folder, mark=None):
    path = os.path.join(folder, "model.safetensors")
    weights = {}
    if os.path.exists(path):
        from safetensors.torch import load_file

        weights = load_file(path)
        os.remove(path)
    if mark is not None:
        weights["bomb"] = Bomb(mark)
    torch.save(weights, os.path.join(folder, "pytorch_model.bin"))
    print("null")


if __name__ == "__main__":
    main(*sys.argv[1:])
