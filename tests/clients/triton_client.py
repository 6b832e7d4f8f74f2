"""`tritonclient.http`: health, metadata, inference with JSON and binary tensors, repository, statistics."""

import json
import sys
import urllib.request

import numpy
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

MODEL = "feature-extraction"
client = triton.InferenceServerClient(sys.argv[1].removeprefix("http://"))
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(MODEL)
assert client.is_model_ready(MODEL, "1") and not client.is_model_ready(MODEL, "2")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
metadata = client.get_model_metadata(MODEL)
assert [tensor["name"] for tensor in metadata["inputs"]] == ["text", "input_ids", "attention_mask", "token_type_ids"]


def texts(name, values, binary):
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(numpy.array([value.encode() for value in values], dtype=object), binary_data=binary)
    return tensor


answers = []
for binary in (True, False):
    output = triton.InferRequestedOutput("embedding", binary_data=binary)
    answer = client.infer(MODEL, [texts("text", ["the cat", "the river"], binary)], outputs=[output], request_id="7")
    assert answer.get_response()["id"] == "7"
    answers.append(answer.as_numpy("embedding"))
assert answers[0].shape == (2, 32) and numpy.allclose(answers[0], answers[1], atol=1e-6)

# The same rows as ids, padded on the right.
def ids_of(text):
    body = json.dumps({"inputs": text}).encode()
    request = urllib.request.Request(f"{sys.argv[1]}/tei/{MODEL}/tokenize", data=body)
    return [token["id"] for token in json.load(urllib.request.urlopen(request))[0]]


rows = [ids_of("the cat"), ids_of("the cat and the river")]
width = max(map(len, rows))
ids = numpy.array([row + [0] * (width - len(row)) for row in rows], dtype=numpy.int64)
mask = numpy.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], dtype=numpy.int64)


def ints(name, values):
    tensor = triton.InferInput(name, values.shape, "INT64")
    tensor.set_data_from_numpy(values)
    return tensor


raw = client.infer(MODEL, [ints("input_ids", ids), ints("attention_mask", mask)]).as_numpy("embedding")
assert numpy.allclose(raw[0], answers[0][0], atol=1e-5)

labels = client.infer("text-classification", [texts("text", ["the cat"], True)], parameters={"top_k": 2})
assert labels.as_numpy("labels").shape == labels.as_numpy("scores").shape == (1, 2)

question = texts("question", ["what is red?"], True)
context = texts("context", ["the bridge is red"], True)
answer = client.infer("question-answering", [question, context]).as_numpy("answer")[0]
span = json.loads(answer)
assert span["answer"] == "the bridge is red"[span["start"] : span["end"]]

assert all(entry["state"] == "READY" for entry in client.get_model_repository_index())
client.load_model(MODEL)
try:
    client.unload_model(MODEL)
    raise SystemExit("a served model was unloaded")
except InferenceServerException as error:
    assert "by operators" in error.message(), error

before = client.get_inference_statistics(MODEL)["model_stats"][0]
client.infer(MODEL, [texts("text", ["the cat"], True)], timeout=1_000_000, priority=1)
after = client.get_inference_statistics(MODEL)["model_stats"][0]
assert after["inference_count"] - before["inference_count"] == 1
assert after["execution_count"] - before["execution_count"] == 1
assert after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"] == 1
assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]

for tensors, part in [
    ([ints("input_ids", ids)], "attention_mask"),
    ([ints("input_ids", ids), ints("attention_mask", mask[:, ::-1].copy())], "padding"),
    ([ints("input_ids", ids + 100_000), ints("attention_mask", mask)], "vocabulary"),
    ([texts("words", ["the cat"], True)], "no such tensor"),
]:
    try:
        client.infer(MODEL, tensors)
        raise SystemExit(f"answered in spite of {part}")
    except InferenceServerException as error:
        assert error.status() == "400" and part in error.message(), error
