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

# The value of a variable given on the command line of make, and nothing for one that the shell exports.
given = $(if $(filter command,$(origin $1)),$($1))

PY := .venv/bin/python
# The first Python of 3.11 or later; PYTHON=… chooses another.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
# Python gets an interrupt only when it can end without a traceback: see tools/__main__.py. macOS's `env` cannot do it.
HOLD_INTERRUPT := $(shell env --block-signal=INT true 2>/dev/null && echo env --block-signal=INT)
PIP_INSTALL := -m pip install --quiet --no-deps --disable-pip-version-check --require-hashes --only-binary :all:

.PHONY: help demo test check build bench contract faults mutants storm up down format docs record lock clean pytest

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

demo: .venv/.stack ## the whole pipeline before your eyes: real orders through a local stack, then cleaned up
	@$(HOLD_INTERRUPT) $(PY) -m tools demo

# On JOBS processes (0: on this one); the tests of a file share their stack, so they stay together.
JOBS ?= 2
test: check ## every check and every test
	@$(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST)

# TEMPLATE=path STACK=name deploys another template to it, beside what is there.
up: .venv/.stack ## start the local stack in the background and deploy template.yaml to it
	@$(HOLD_INTERRUPT) $(PY) -m tools up $(if $(call given,TEMPLATE),'$(TEMPLATE)') $(if $(call given,STACK),--stack '$(STACK)')

down: ## end the local stack
	@if [ -x $(PY) ]; then $(HOLD_INTERRUPT) $(PY) -m tools down; else echo "no local stack: nothing is installed"; fi

# Lambda's Python is what the bundle's compiled dependencies are for, so `sam build` wants that very one.
ARCHITECTURE ?= $(if $(filter x86_64 AMD64,$(shell uname -m)),x86_64,arm64)
build: .venv/.sam ## the bundle for Lambda, in .aws-sam/build (needs python3.13, or Docker: CONTAINER=1)
	@[ -n "$(CONTAINER)" ] || python3.13 -c '' 2>/dev/null || \
		{ echo "make build: sam build needs python3.13 on the PATH, or Docker (make build CONTAINER=1)" >&2; exit 1; }
	@.venv/sam/bin/sam build --parameter-overrides Architecture=$(ARCHITECTURE) $(if $(CONTAINER),--use-container)

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

check: .venv/.stack .venv/.sam ## formatting, lint, types, the direction of imports, what replays bear, the template
	@$(PY) -m ruff format --check --quiet . || { echo "make format puts this right"; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy
	@out=$$($(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-cache"])') || { echo "$$out"; exit 1; }
	@$(PY) -m tools.determinism_check
	@$(PY) -m tools.template_check

format: .venv/.dev ## bring the code into shape
	@$(PY) -m ruff format --quiet . && $(PY) -m ruff check --quiet --fix .

docs: .venv/.dev ## write the generated docs anew: docs/states.md, docs/order.schema.json
	@$(PY) -m tools.generated_docs

record: .venv/.stack ## record anew, on a local stack, the executions that tests/replay replays
	@$(PY) -m tests.replay.record

# The index options keep the addresses of whoever compiles out of the lock files.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-strip-extras --generate-hashes
lock: ## compile the lock files from requirements/*.in and src/requirements.in (needs uv)
	$(LOCK) src/requirements.in -o src/requirements.txt
	$(LOCK) requirements/dev.in -c src/requirements.txt -o requirements/dev.txt
	$(LOCK) durable_local/ministack.in -o durable_local/src/durable_local/ministack.lock.txt
	$(LOCK) requirements/sam.in -o requirements/sam.txt

clean: down ## remove what was installed and written here
	rm -rf .venv .local .mypy_cache .pytest_cache .ruff_cache .hypothesis .aws-sam

# ── environments: one for people, and one for each set of pins that cannot live beside it ────────────

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed, and none is on the PATH (PYTHON=… names one)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.dev: requirements/dev.txt pyproject.toml durable_local/pyproject.toml | .venv/bin/python
	@echo "installing the development environment (.venv) …"
	@$(PY) $(PIP_INSTALL) -r requirements/dev.txt
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation --disable-pip-version-check --editable . --editable durable_local
	@touch $@

# Exactly what ships to Lambda: the local stack's workers run in it, so what the manifest lacks fails here too.
.venv/.functions: src/requirements.txt | .venv/bin/python
	@echo "installing what ships to Lambda (.venv/functions) …"
	@$(PY) -m venv --clear .venv/functions
	@.venv/functions/bin/python $(PIP_INSTALL) -r src/requirements.txt
	@touch $@

# MiniStack pins a botocore older than the durable SDK allows.
.venv/.ministack: durable_local/src/durable_local/ministack.lock.txt | .venv/.dev
	@echo "installing MiniStack (durable-local install) …"
	@$(PY) -m durable_local install
	@touch $@

# The SAM CLI pins boto3.
.venv/.sam: requirements/sam.txt | .venv/bin/python
	@echo "installing the SAM CLI (.venv/sam) …"
	@$(PY) -m venv --clear .venv/sam
	@.venv/sam/bin/python $(PIP_INSTALL) -r requirements/sam.txt
	@touch $@

.venv/.stack: .venv/.dev .venv/.functions .venv/.ministack
	@touch $@
