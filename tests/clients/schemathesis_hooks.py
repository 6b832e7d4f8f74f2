"""Counts what schemathesis is answered, and on the port for management asks for changes that can be made.

NEURONC_FUZZ_TALLY is the file that gets {operation: {status: requests}} at the end.

NEURONC_FUZZ_BUNDLES is {name: folder} of what is served on cores 0 and 1, NEURONC_FUZZ_OTHER one more bundle. With them
most valid changes name models that are served and bundles that are there, beside what the document lets schemathesis
make up. What is served is put back after each change, so that every route still has something to answer;
of what is new only two models stay.
"""

import atexit
import collections
import json
import os
import urllib.parse
import urllib.request

import schemathesis
from hypothesis import strategies as st

BUNDLES = json.loads(os.environ.get("NEURONC_FUZZ_BUNDLES", "{}"))
MODELS = sorted(BUNDLES)
MORE = ["new", "newer"]

model = st.sampled_from([*MODELS, *MORE])
alias = st.sampled_from(["best", "best", "next", *MODELS[:1]])
bundle = st.sampled_from([*BUNDLES.values(), os.environ.get("NEURONC_FUZZ_OTHER")])
cores = st.sampled_from(["0", "1", "0-1"])
shares = st.dictionaries(model, st.integers(0, 3), min_size=1, max_size=2)

# The parts of a request that are not left to the document.
CHANGES = {
    "PUT /admin/models/{model}": {
        "path_parameters": st.fixed_dictionaries({"model": model}),
        "body": st.fixed_dictionaries({}, optional={"bundle": bundle, "cores": cores}),
    },
    "DELETE /admin/models/{model}": {
        "path_parameters": st.fixed_dictionaries({"model": model}),
        "query": st.fixed_dictionaries({}, optional={"force": st.booleans(), "cores": cores}),
    },
    "PUT /admin/aliases/{alias}": {
        "path_parameters": st.fixed_dictionaries({"alias": alias}),
        "body": st.fixed_dictionaries({"models": shares}),
    },
    "DELETE /admin/aliases/{alias}": {"path_parameters": st.fixed_dictionaries({"alias": alias})},
    "POST /admin/aliases/{alias}/rollback": {"path_parameters": st.fixed_dictionaries({"alias": alias})},
    "POST /v2/repository/models/{model}/load": {
        "path_parameters": st.fixed_dictionaries({"model": model}),
        "body": st.fixed_dictionaries(
            {}, optional={"parameters": st.fixed_dictionaries({}, optional={"bundle": bundle})}
        ),
    },
    "POST /v2/repository/models/{model}/unload": {"path_parameters": st.fixed_dictionaries({"model": model})},
}

tally = collections.defaultdict(collections.Counter)


@schemathesis.hook
def flatmap_case(context, case):
    change = CHANGES.get(case.operation.label)
    if not BUNDLES or change is None or case.meta is None or not case.meta.generation.mode.is_positive:
        return st.just(case)

    def with_parts(parts):
        for name, value in parts.items():
            setattr(case, name, value)
        return case

    ours = st.fixed_dictionaries(change)
    return st.one_of(st.just({}), ours, ours, ours).map(with_parts)


@schemathesis.hook
def after_call(context, case, response):
    label = case.operation.label
    # The phase `coverage` asks with other methods as well.
    if response.request.method == case.operation.method.upper():
        tally[label][response.status_code] += 1
    if BUNDLES and label in CHANGES and response.status_code == 200:
        address = urllib.parse.urlsplit(response.request.url)
        put_back(f"{address.scheme}://{address.netloc}", case.path_parameters)


def put_back(server, changed):
    def take(kind, name):
        force = "?force=true" if kind == "models" else ""
        ask("DELETE", f"{server}/admin/{kind}/{urllib.parse.quote(str(name))}{force}")

    match changed:
        case {"model": name} if name in BUNDLES:
            ask("PUT", f"{server}/admin/models/{name}", {"bundle": BUNDLES[name], "cores": "0-1"})
        case {"model": name} if name not in MORE:
            take("models", name)
        case {"alias": "best"}:
            for name in MODELS[:2]:
                ask("PUT", f"{server}/admin/aliases/best", {"models": {name: 1}})
        case {"alias": name}:
            take("aliases", name)


def ask(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=60) as answer:
        assert answer.status == 200


@atexit.register
def write_tally():
    with open(os.environ["NEURONC_FUZZ_TALLY"], "w") as file:
        json.dump(tally, file)
