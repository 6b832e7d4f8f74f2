"""The `kserve` package: its REST client for version 2 of the protocol."""

import asyncio
import sys

import numpy
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

MODEL = "feature-extraction"


async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    url = sys.argv[1]
    assert await client.is_server_live(url) and await client.is_server_ready(url)
    assert await client.is_model_ready(url, MODEL)
    tensor = InferInput("text", [2], "BYTES", ["the cat", "the river"])
    answer = await client.infer(url, InferRequest(MODEL, [tensor]), model_name=MODEL)
    embedding = answer.outputs[0].as_numpy()
    assert embedding.shape == (2, 32) and numpy.isfinite(embedding).all()
    await client.close()


asyncio.run(main())
