"""A server as many write one: FastAPI, `POST /predict/model` with `{"inputs": "a text"}`, the embedding as JSON.

The environment says what computes: PEER_ENGINE (torch-padded, openvino, onnxruntime), PEER_MODEL (the file),
PEER_TOKENIZER, PEER_THREADS and, for OpenVINO, PEER_STREAMS. Texts are not padded but by torch-padded, whose trace
takes 128 tokens. torch-padded computes in the event loop, as the reference system does; the others in FastAPI's threads.
"""

import os

import numpy
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from tokenizers import Tokenizer

PADDED = 128
ENGINE = os.environ["PEER_ENGINE"]
MODEL = os.environ["PEER_MODEL"]
THREADS = int(os.environ["PEER_THREADS"])

app = FastAPI()
tokenizer = Tokenizer.from_file(os.environ["PEER_TOKENIZER"])
tokenizer.no_padding()
tokenizer.enable_truncation(max_length=PADDED if ENGINE == "torch-padded" else 256)
if ENGINE == "torch-padded":
    tokenizer.enable_padding(length=PADDED)


class Body(BaseModel):
    inputs: str


def torch_padded():
    import torch

    torch.set_num_threads(THREADS)
    module = torch.jit.load(MODEL)

    def run(ids, mask, types):
        with torch.no_grad():
            return module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def openvino():
    import threading

    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": THREADS,
        "NUM_STREAMS": int(os.environ["PEER_STREAMS"]),
    }
    compiled = openvino.Core().compile_model(MODEL, "CPU", settings)
    # An inference request is for one thread at a time.
    own = threading.local()

    def run(ids, mask, types):
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        return own.request.infer({"ids": ids, "mask": mask, "types": types})["embedding"]

    return run


def onnxruntime():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask, types: session.run(None, {"ids": ids, "mask": mask, "types": types})[0]


run = {"torch-padded": torch_padded, "openvino": openvino, "onnxruntime": onnxruntime}[ENGINE]()


def embed(text):
    encoding = tokenizer.encode(text)
    row = [numpy.array([part], dtype=numpy.int64) for part in (encoding.ids, encoding.attention_mask, encoding.type_ids)]
    # Without FastAPI's own conversion, which walks every number.
    return JSONResponse(run(*row).tolist())


embed("warm up")

if ENGINE == "torch-padded":

    @app.post("/predict/model")
    async def predict(body: Body):
        return embed(body.inputs)

else:

    @app.post("/predict/model")
    def predict(body: Body):
        return embed(body.inputs)
