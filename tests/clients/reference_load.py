"""The pattern of the load generator of AWS's post: sequential GETs on a new connection each, a thread for each core, no parameters."""

import json
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

COUNT = 50


def get(url):
    with urllib.request.urlopen(url) as answer:
        return answer.status, json.load(answer)


def load(core):
    url = f"{sys.argv[1]}/predictions_neuron_core_{core}/model_{int(sys.argv[2])}"
    return [get(url) for _ in range(COUNT)]


with ThreadPoolExecutor(2) as pool:
    answers = [answer for answers in pool.map(load, range(2)) for answer in answers]
assert len(answers) == 2 * COUNT
assert all(status == 200 and isinstance(answer["detail"], str) for status, answer in answers)
assert get(f"{sys.argv[1]}/") == (200, {"Status": "Healthy"})

for path in ["predictions_neuron_core_2/model_0", "predictions_neuron_core_0/model_9", "banana/model_0"]:
    try:
        get(f"{sys.argv[1]}/{path}")
        raise SystemExit(f"{path} was answered")
    except urllib.error.HTTPError as error:
        assert error.code == 404, (path, error.code)
