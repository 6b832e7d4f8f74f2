"""The `huggingface_hub` package: its inference client, at the routes of Text Embeddings Inference and at the native ones."""

import sys

import numpy
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

url = sys.argv[1]


def at(path):
    return InferenceClient(model=f"{url}{path}")


one = at("/predict/feature-extraction").feature_extraction("the cat")
assert one.shape == (32,) and one.dtype == numpy.float32
embed = at("/embed")
vectors = embed.feature_extraction(["the cat", "the river"], normalize=True)
assert vectors.shape == (2, 32)
assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5)
assert numpy.allclose(vectors[0], one / numpy.linalg.norm(one), atol=1e-5)
# The root of the server, as the address of an endpoint is used.
assert numpy.allclose(at("").feature_extraction("the cat"), one, atol=1e-6)

scores = at("/similarity").sentence_similarity("the cat", other_sentences=["the cat", "the river"])
assert abs(scores[0] - 1) < 1e-5 and abs(scores[1] - float(vectors[0] @ vectors[1])) < 1e-5, scores

labels = at("/predict/text-classification").text_classification("the cat", top_k=3)
assert {label.label for label in labels} == {"negative", "neutral", "positive"}
assert abs(sum(label.score for label in labels) - 1) < 1e-5

answer = at("/predict/question-answering").question_answering(
    question="what is red?", context="the bridge is red and the river is cold"
)
context = "the bridge is red and the river is cold"
assert answer.answer == context[answer.start : answer.end], answer

try:
    embed.feature_extraction("the cat " * 100)
    raise SystemExit("a text that is too long was cut without being asked")
except HfHubHTTPError as error:
    assert error.response.status_code == 413, error
    assert error.response.json()["error_type"] == "Validation"
assert embed.feature_extraction("the cat " * 100, truncate=True).shape == (1, 32)
