"""Writes the model of a folder as the peers take it: `model.onnx`, with free batch and sequence, and `padded.pt`, a
TorchScript trace of one row of 128 tokens without segments, as the reference system makes it.

Both end in the sentence embedding: the mean over the tokens, of length 1.
"""

import pathlib
import sys
import warnings

import torch
import transformers

PADDED = 128


class Embedder(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask, types=None):
        hidden = self.model(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def main(folder, out):
    warnings.simplefilter("ignore")
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="sdpa").eval()
    embedder = Embedder(model).eval()
    ids, ones = torch.arange(1000, 1000 + PADDED).reshape(1, -1), torch.ones(1, PADDED, dtype=torch.int64)
    with torch.no_grad():
        torch.jit.trace(embedder, (ids, ones)).save(out / "padded.pt")
        free = {0: "batch", 1: "sequence"}
        names = ["ids", "mask", "types"]
        torch.onnx.export(
            embedder, (ids[:, :24], ones[:, :24], ones[:, :24] * 0), out / "model.onnx", dynamo=False, opset_version=17,
            input_names=names, output_names=["embedding"], dynamic_axes={name: free for name in names} | {"embedding": {0: "batch"}},
        )


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
