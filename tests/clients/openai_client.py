"""The `openai` package: embeddings in all forms of input, models, errors."""

import json
import math
import sys
import urllib.request

import openai

MODEL = "feature-extraction"
client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)


def embed(text, **more):
    answer = client.embeddings.create(model=MODEL, input=text, **more)
    assert answer.model == MODEL, answer.model
    return answer


# The library asks for base64 unless told otherwise, and decodes it.
one = embed("the cat").data[0].embedding
plain = embed("the cat", encoding_format="float").data[0].embedding
assert len(one) == 32 and all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one, plain, strict=True))

many = embed(["the river", "the cat"])
assert [item.index for item in many.data] == [0, 1]
assert all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(many.data[1].embedding, one, strict=True))
assert many.usage.prompt_tokens == many.usage.total_tokens == 8

short = embed("the cat", dimensions=8).data[0].embedding
assert len(short) == 8 and math.isclose(sum(value * value for value in short), 1, abs_tol=1e-5)

# Ids of tokens, as one text and as several.
request = urllib.request.Request(
    f"{sys.argv[1]}/tei/{MODEL}/tokenize",
    data=json.dumps({"inputs": "the cat", "add_special_tokens": False}).encode(),
)
ids = [token["id"] for token in json.load(urllib.request.urlopen(request))[0]]
assert embed(ids).data[0].embedding == one
assert [item.embedding for item in embed([ids, ids[:1]]).data][0] == one

assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).id == MODEL

try:
    client.embeddings.create(model="nobody", input="the cat")
    raise SystemExit("an unknown model was answered")
except openai.NotFoundError as error:
    assert error.code == "unknown_model" and MODEL in error.message, error

try:
    embed("the cat", dimensions=33)
    raise SystemExit("too many dimensions were answered")
except openai.BadRequestError as error:
    assert error.code == "bad_parameter" and error.param == "dimensions", error
