# Two commands do all set-up: `make demo` and `make test`. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

# Nothing here talks to anything but the package registries, at install time, and the loopback.
export SAM_CLI_TELEMETRY := 0
export AWS_EC2_METADATA_DISABLED := true
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS VIRTUAL_ENV
# Only `make contract STACK=name` may reach AWS.
unexport CONTRACT_STACK
# Only `make fast` tries fewer examples.
unexport HYPOTHESIS_EXAMPLES

# The value of a variable given on the command line of make, and nothing for one that the shell exports.
given = $(if $(filter command,$(origin $1)),$($1))

PY := .venv/bin/python
# The first Python of 3.11 or later; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
# Python gets an interrupt only when it can end without a traceback: see tools/__main__.py. macOS's `env` cannot do it.
HOLD_INTERRUPT := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)

# uv never downloads a Python. It does not read pip's settings: the index that pip is told of is passed on.
export UV_PYTHON_DOWNLOADS := never
UV = UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PY) -m pip config get global.index-url 2>/dev/null || true)}}" \
	.venv/bin/uv --quiet
UV_SYNC = $(UV) pip sync --require-hashes --only-binary :all:

.PHONY: help demo fast test check build bench contract faults mutants storm up down format docs record lock clean pytest

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

demo: .venv/.stack ## the whole pipeline before your eyes: real orders through a local stack, then cleaned up
	@$(HOLD_INTERRUPT) $(PY) -m tools demo

# On JOBS processes (0: on this one); the tests of a file share their stack, so they stay together.
JOBS ?= 2
test: check ## every check and every test
	@$(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST)

# Fewer examples than `make test`, and without the tests that are marked slow.
NEEDS_NO_STACK := tests/unit tests/integration tests/protocol tests/template
fast: check ## every check, and the tests that need no stack: under a minute
	@HYPOTHESIS_EXAMPLES=20 $(PY) -m pytest -q -n $(JOBS) --dist loadfile -m 'not slow' $(NEEDS_NO_STACK) $(PYTEST)

# TEMPLATE=path STACK=name deploys another template to it, beside what is there.
up: .venv/.stack ## start the local stack in the background and deploy template.yaml to it
	@$(HOLD_INTERRUPT) $(PY) -m tools up $(if $(call given,TEMPLATE),'$(TEMPLATE)') $(if $(call given,STACK),--stack '$(STACK)')

down: ## end the local stack
	@if [ -x $(PY) ]; then $(HOLD_INTERRUPT) $(PY) -m tools down; else echo "no local stack: nothing is installed"; fi

# The bundle's compiled dependencies fit one Python, so `sam build` needs the same version as Lambda.
ARCHITECTURE ?= $(if $(filter x86_64 AMD64,$(shell uname -m)),x86_64,arm64)
build: .venv/.dev .venv-sam/.installed ## the bundle for Lambda, in .aws-sam/build (needs Python 3.13, or Docker: CONTAINER=1)
	@$(if $(CONTAINER),,python=$$($(PY) -m durable_local.ministack.patches.interpreters 3.13) || \
		{ echo "make build: sam build needs Python 3.13 or Docker (make build CONTAINER=1)" >&2; exit 1; }; \
		PATH="$${python%/*}:$$PATH") .venv-sam/bin/sam build --parameter-overrides Architecture=$(ARCHITECTURE) \
		$(if $(CONTAINER),--use-container)

# The stack is durable_local/tests/fixture/contract, deployed with `sam build` and `sam deploy`.
contract: .venv/.stack ## the contract tests: against AWS with STACK=name (and the shell's credentials), else here
	@$(if $(call given,STACK),CONTRACT_STACK='$(STACK)') $(PY) -m pytest durable_local/tests/test_contract.py $(PYTEST)

# Twenty minutes or more. SEED=n runs that one alone: what a failure prints to run it again.
faults: .venv/.stack ## seeded faults over many orders, each fault counted: SEEDS=20 ORDERS=50
	@$(PY) -m tests.faults.seeded faults --orders $(or $(ORDERS),50) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20))

mutants: .venv/.stack ## each mechanism taken out in a copy, until a seed notices
	@$(PY) -m tests.faults.seeded mutants --orders $(or $(ORDERS),50)

storm: .venv/.stack ## real purchases while workers are killed every few seconds: ORDERS=2000
	@$(PY) -m tests.faults.seeded storm --orders $(or $(ORDERS),2000) $(if $(SEED),--seed $(SEED))

bench: .venv/.dev ## what the worst message costs against the most expensive order (two minutes)
	@$(PY) -m bench.worst_message

check: .venv/.stack .venv-sam/.installed ## formatting, lint, types, the direction of imports, what replays bear, the template
	@$(PY) -m ruff format --check --quiet . || { echo "make format puts this right"; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@out=$$($(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-cache"])') || { echo "$$out"; exit 1; }
	@$(PY) -m tools.template_check

format: .venv/.dev ## bring the code into shape
	@$(PY) -m ruff format --quiet . && $(PY) -m ruff check --quiet --fix .

docs: .venv/.dev ## write the generated docs anew: docs/states.md, docs/order.schema.json
	@$(PY) -m tools.generated_docs

.PHONY: picture
picture: .venv/.stack ## run the demo and write what it prints to docs/demo.svg
	@COLUMNS=100 $(PY) -m tools demo --svg docs/demo.svg | cat

record: .venv/.stack ## record anew, on a local stack, the executions that tests/replay replays
	@$(PY) -m tests.replay.record

# The index options keep the addresses of whoever compiles out of the lock files.
LOCK = $(UV) pip compile --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-strip-extras --generate-hashes
lock: .venv/bin/uv ## compile the lock files from pyproject.toml and durable_local/pyproject.toml
	$(LOCK) pyproject.toml -o src/requirements.txt
	$(LOCK) pyproject.toml durable_local/pyproject.toml --group dev -c src/requirements.txt -o requirements/dev.txt
	for group in sam uv; do $(LOCK) --group $$group -o requirements/$$group.txt; done
	$(LOCK) --group durable_local/pyproject.toml:ministack -o durable_local/src/durable_local/ministack.lock.txt

clean: down ## remove what was installed and written here
	rm -rf .venv .venv-functions .venv-sam .local .mypy_cache .pytest_cache .ruff_cache .hypothesis .aws-sam

# ── environments: one for people, and one for each set of pins that cannot live beside it ────────────

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed, and none is on the PATH (PYTHON=… names one)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/bin/uv: requirements/uv.txt | .venv/bin/python
	@$(PY) -m pip install --quiet --quiet --no-deps --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml durable_local/pyproject.toml | .venv/bin/uv
	@echo "installing the development environment (.venv) …"
	@$(UV_SYNC) --python $(PY) $<
	@$(UV) pip install --python $(PY) --no-deps --no-build-isolation --editable . --editable durable_local
	@touch $@

# The functions' environment has exactly what ships to Lambda, so a dependency that the manifest lacks fails here too.
.venv-functions/.installed: src/requirements.txt
.venv-sam/.installed: requirements/sam.txt
.venv-%/.installed: | .venv/bin/uv
	@echo "installing .venv-$* …"
	@$(UV) venv --clear --python $(PY) .venv-$*
	@$(UV_SYNC) --python .venv-$*/bin/python $(filter %.txt,$^)
	@touch $@

# MiniStack pins a botocore that is older than the durable SDK needs.
.venv/.ministack: durable_local/src/durable_local/ministack.lock.txt | .venv/.dev
	@echo "installing MiniStack (durable-local install) …"
	@$(PY) -m durable_local install
	@touch $@

.venv/.stack: .venv/.dev .venv-functions/.installed .venv/.ministack
	@touch $@
