# The two commands of the README, and the steps they are made of. Each step is idempotent.

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick bless build release libtorch lint fixtures sdk-doubles clients bench compare soak fuzz

help:
	@echo "make demo   trace, report, verify and serve a real model, and ask it something"
	@echo "make test   build everything and run all tests"
	@echo "make test-quick  the tests without servers, Neuron SDK and browsers: minutes"
	@echo "make bless  write down what the programs say now, where tests compare it with a file"
	@echo "make build  both programs, for development"
	@echo "make lint   rustfmt and clippy, as CI runs them"
	@echo "make sdk-doubles  the environments for the tests of Neuron chips (1.2 GB; apt-get; minutes)"
	@echo "make clients  the environment for the tests with client libraries (200 MB)"
	@echo "make compare  measure it against other servers of the same model (1.1 GB of downloads; ten minutes)"
	@echo "make bench  measure the release build; soak and fuzz run the tests of that kind for long"

libtorch:
	@scripts/libtorch.sh

build: libtorch
	cargo build --workspace

release: libtorch
	cargo build --workspace --release

demo: release
	@scripts/demo.sh

test: libtorch
	@scripts/test.sh

# What starts servers, compiles with doubles of an SDK, or builds a plugin.
SLOW = serve:: bench:: neuron:: plugin:: doctor::sdk of_a_neuron_compilation

test-quick: build
	cargo test --workspace --lib --bins
	cargo test --workspace --test '*' -- $(addprefix --skip ,$(SLOW))

# The tests that compare with a file and may rewrite it. `serve::recorded` is not among them: what it
# holds is to stay.
bless: build
	NEURONC_BLESS=1 TRYCMD=overwrite cargo test --package neuronc --test suite -- \
		errors:: transcripts refusal_cases openapi protocol_page metrics schema tidy::

lint: libtorch
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

bench: release
	@python3 scripts/bench.py

compare: release
	@python3 scripts/compare.py

# The only target that may use apt-get; it says so first. Without it, tests that need a double say why they skip.
sdk-doubles:
	@scripts/sdk-doubles.sh

# Without it, the tests with client libraries say why they skip.
clients:
	@scripts/client-env.sh

# The long forms of tests that `make test` runs shortly.
soak: build
	NEURONC_SOAK_SECONDS=600 cargo test --workspace --test suite soak -- --nocapture

fuzz: libtorch
	@scripts/fuzz.sh

# Needs several gigabytes for torch and transformers; only for those who change the fixtures.
fixtures:
	@scripts/python-env.sh
	.cache/fixtures-venv/bin/python -B tests/fixtures/make.py
