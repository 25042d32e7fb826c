# `make` says what there is. Everything runs in .venv, which the first target makes from requirements.lock.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Where the Debian package python3-venv is missing, `python -m venv` fails: hence ensurepip in the probe. Each is
# tried by running it, since the shims of version managers exist for versions that are not active.
PROBE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c '$(PROBE)' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-parallel test-long test-faults test-importers test-unit check lint format types bench bench-drift bench-labels lock sbom wheel audit-packages zoo clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with everything pinned (about a minute, once)

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "error: no Python 3.11 or newer with the venv and ensurepip modules was found."; \
		echo "       Debian and Ubuntu: apt install python3-venv. Otherwise: make setup PYTHON=/path/to/python3.12"; \
		exit 1; }
	@echo "1/3 making $(VENV) with $$($(PYTHON) -V)"
	@test -x $(BIN)/python && $(BIN)/python -c '$(PROBE)' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "2/3 installing the packages of requirements.lock"
	@# uv takes a third of pip's time. It reads no settings of pip, such as an index of one's own: then pip does it.
	@{ $(PIP) --require-hashes -r infra/locks/uv.lock && \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock; } || \
		$(PIP) --require-hashes -r requirements.lock
	@echo "3/3 installing streaming-inspection itself"
	@# hatchling is in the lock: nothing is fetched that is not pinned.
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@
	@echo "ready: $(BIN)/inspection"

demo: $(STAMP) ## Run the whole line on this machine; options in ARGS, as in make demo ARGS="--frames 200"
	@$(BIN)/inspection demo $(ARGS)

# Processor time is the limit, but tests wait as well: two processes a core. Each process has a broker of its own (about
# 1 GiB of memory with the rest).
PROCESSES ?= 4
PYTEST := $(BIN)/python -m pytest -q
PARALLEL := $(PYTEST) -n $(PROCESSES) --dist worksteal
# Files of the tests that run alone: to collect all the others takes twenty seconds.
ALONE = $(if $(ARGS),,$(shell grep -rl --include=test_*.py pytest.mark.alone tests))
# Exit status 5: ARGS selects none of these tests.
NONE_IS_FINE := || test $$? = 5
# Tests start the programs some hundred times: compiled modules are kept.
unexport PYTHONDONTWRITEBYTECODE

test: lint ## Lint, types, and all tests that are not long, with a real Kafka
	@$(MAKE) --no-print-directory --jobs=2 types test-parallel
	$(PYTEST) -m "alone and not long" $(ARGS) $(ALONE) $(NONE_IS_FINE)

test-parallel: $(STAMP)
	$(PARALLEL) -m "not alone and not long" $(ARGS) $(NONE_IS_FINE)

test-long: $(STAMP) ## The tests that take long: outages, kills, memory, browser; and other examples of Hypothesis
	INSPECTION_TESTS_RANDOM=1 $(PARALLEL) -m "hypothesis and not alone and not long" $(ARGS) $(NONE_IS_FINE)
	$(PARALLEL) -m "long and not alone" $(ARGS) $(NONE_IS_FINE)
	$(PYTEST) -m "long and alone" $(ARGS) $(ALONE) $(NONE_IS_FINE)

test-faults: $(STAMP) ## Kill, freeze and fill everything, at length; the table goes to build/faults.md
	INSPECTION_FAULTS=full FAULTS_REPORT=build/faults.json $(BIN)/python -m pytest -q -m faults $(ARGS)

check: lint types

test-importers: $(STAMP) ## Import models with the real frameworks; makes their environments in the cache (10 GB, once)
	INSPECTION_IMPORTERS=make $(BIN)/python -m pytest -q -m importers $(ARGS)

test-unit: $(STAMP) ## Only the tests that need no Kafka
	$(BIN)/python -m pytest -q -m "not broker" $(ARGS)

zoo: $(STAMP) ## Make the models of good and of stacked solar cells again; elpv_cells takes PyTorch (docs/models.md)
	rm -rf build/elpv
	$(BIN)/python -m models.training.elpv.folders build/elpv
	$(BIN)/inspection train --images build/elpv/good --products --recipe places --overkill 0.05 \
		--out models/zoo/elpv_good_only --overwrite
	$(BIN)/python -m models.training.elpv.stack
	$(BIN)/python -m models.training.elpv.good_only models/zoo/elpv_good_only

lint: $(STAMP) ## Style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## Bring the code into the common form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

bench: $(STAMP) ## Everything beside the limit and the peers, to build/bench (hours; with ARGS="--rounds 1 --minutes 3" one)
	@$(BIN)/python -m benchmarks $(ARGS)

bench-drift: $(STAMP) ## Drift detection on real images beside River's defaults and Evidently; plots in build/bench-drift
	@$(BIN)/python -c "import evidently, matplotlib" 2>/dev/null || \
		$(PIP) --require-hashes -r infra/locks/bench.lock
	@$(BIN)/python -m benchmarks.drift $(ARGS)

bench-labels: $(STAMP) ## False alarms and delay of the detectors on labels, beside River's alone, as JSON and a table
	@$(BIN)/python -m benchmarks.concept_errors $(ARGS)

# No index and no local wheels in the result: it must install from whatever index the reader has.
UPGRADE ?= --upgrade
COMPILE = env -u PIP_FIND_LINKS -u UV_FIND_LINKS $(VENV)/lock/bin/uv pip compile --quiet $(UPGRADE) --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--custom-compile-command "make lock"
BUILD_REQUIRES = sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml
# Versions that a peer shares with the worker: figures are compared.
SHARED = sed -nE '/^(numpy|onnxruntime|opencv-python-headless|pyyaml)==/s/ \\$$//p' requirements.lock

lock: ## Write the locks again, with the newest versions that pyproject.toml allows; UPGRADE= keeps the present ones
	@test -x $(VENV)/lock/bin/uv || { $(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/python -m pip install \
		--quiet --disable-pip-version-check --require-hashes -r infra/locks/uv.lock; }
	@$(BUILD_REQUIRES) | $(COMPILE) --extra dev -o requirements.lock pyproject.toml -
	@$(COMPILE) -c requirements.lock --extra registry --extra s3 --extra analysis --extra train --extra gateway -o infra/locks/runtime.lock \
		pyproject.toml
	@$(BUILD_REQUIRES) | $(COMPILE) -c requirements.lock -o infra/locks/build.lock -
	@$(COMPILE) --extra bench -o infra/locks/bench.lock pyproject.toml
	@$(SHARED) | $(COMPILE) -o infra/locks/peers.lock benchmarks/contenders/peers.txt -
	@echo uv | $(COMPILE) -o infra/locks/uv.lock -
	@echo pip-audit | $(COMPILE) -o infra/locks/audit.lock -
	@printf '%s\n' tensorflow-cpu keras tf2onnx | $(COMPILE) -o infra/locks/import-tensorflow.lock -
	@echo conformal-clip-data | $(COMPILE) -o infra/locks/textile.lock -
	@printf '%s\n' scikit-learn skl2onnx onnx | $(COMPILE) -o infra/locks/import-sklearn.lock -
	@printf '%s\n' torch torchvision onnxscript onnx | $(COMPILE) -o infra/locks/import-torch.lock -
	@printf '%s\n' anomalib onnxscript onnx | $(COMPILE) -c infra/locks/import-torch.lock \
		-o infra/locks/import-anomalib.lock -
	@printf '%s\n' ultralytics onnxscript onnx | $(COMPILE) -c infra/locks/import-torch.lock -o infra/locks/yolo.lock -
	@grep -c == requirements.lock infra/locks/*.lock

sbom: $(STAMP) ## Write the bills of materials (CycloneDX 1.6) to build/sbom
	@$(BIN)/python -m infra.supply_chain.sbom build/sbom

# The time in the wheel is that of the last commit: the same commit gives the same bytes.
wheel: $(STAMP) ## Build the wheel, to dist
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -m hatchling build -t wheel

AUDIT := $(VENV)/audit
audit-packages: $(STAMP) ## Check the runtime lock for known vulnerabilities; exit status 3 if no database answers
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install \
		--quiet --disable-pip-version-check --require-hashes -r infra/locks/audit.lock; }
	@$(BIN)/python -m infra.supply_chain.audit $(AUDIT)/bin/pip-audit infra/locks/runtime.lock $(ARGS)

clean: ## Remove .venv and what tools leave behind (topics of the local broker stay)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
