# dpjax: install, demo, tests.  Needs make, pip and Python 3.11 or newer; everything else goes into .venv.
#   make demo      train on water, test, draw the curves (about 3 minutes on 2 cores)
#   make test      the quick tests        make test-all   every test
#   make lint      ruff                   make bench      one training step beside DeePMD-kit (PEER=DIR names its environment)
#   make features  the table of features from the tests that it runs (FEATURE_TESTS=PATHS: some of them; PEER=DIR: DeePMD-kit, too)
# PYTHON=/path/to/python3.12 chooses the interpreter.

SHELL := /bin/bash
CANDIDATES := python3 python3.13 python3.12 python3.11
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in $(CANDIDATES); do "$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && echo "$$p" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# Nearly all that the tests do is compile small programs, which takes a third of the time without LLVM's optimizations and with
# loops that XLA writes for LLVM itself. `make test-all QUICKLY=` compiles as users do. A process that meets a flag it does not
# know ends at once, and flags change with XLA's versions: they are tried first.
QUICKLY := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false
FLAGS = $(shell JAX_PLATFORMS=cpu XLA_FLAGS="$(QUICKLY)" $(BIN)/python -c 'import jax; jax.devices()' 2>/dev/null && echo "$(QUICKLY)")

CONFIG ?= configs/water_se_e2_a.json
VALID ?= examples/water/valid
RUN ?= runs/water_se_e2_a
FEATURE_TESTS ?= tests
RECORD ?= runs/features.json

.PHONY: demo test test-all features lint format bench install clean

demo: $(VENV)/.plot
	$(BIN)/python scripts/train.py --config $(CONFIG) --output $(RUN)
	$(BIN)/dpjax test -m $(RUN) -s $(VALID) -d $(RUN)/test --plot $(RUN)/test --output $(RUN)/test.json
	$(BIN)/dpjax plot $(RUN)/lcurve.out -o $(RUN)/lcurve.png
	@$(BIN)/python scripts/demo_summary.py --config $(CONFIG) --run $(RUN)

test: $(VENV)/.test
	XLA_FLAGS="$(FLAGS) $$XLA_FLAGS" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow"

test-all: $(VENV)/.test
	XLA_FLAGS="$(FLAGS) $$XLA_FLAGS" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Tests that fail are no reason to stop: they are in the table.
features: $(VENV)/.test
	-XLA_FLAGS="$(FLAGS) $$XLA_FLAGS" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --features $(RECORD) $(FEATURE_TESTS)
	test -z "$(PEER)" || "$(PEER)/bin/python" scripts/probe_deepmd.py -o docs/features_deepmd.json
	$(BIN)/python scripts/make_feature_table.py --record $(RECORD)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.plot
	$(BIN)/python benchmarks/train_step.py

install: $(VENV)/.plot

clean:
	rm -rf build dist *.egg-info runs

# --- the environment -------------------------------------------------------------------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "dpjax needs Python 3.11 or newer: install one and say make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "$(PYTHON) is older than 3.11: say make PYTHON=/path/to/python3.11"; exit 1; }
	"$(PYTHON)" -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "no venv module here, taking virtualenv"; \
	  "$(PYTHON)" -m virtualenv --version >/dev/null 2>&1 || "$(PYTHON)" -m pip install --user virtualenv \
	    || "$(PYTHON)" -m pip install --user --break-system-packages virtualenv; \
	  "$(PYTHON)" -m virtualenv $(VENV); }

$(VENV)/.plot: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[plot]"
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,plot]"
	@touch $@ $(VENV)/.plot
