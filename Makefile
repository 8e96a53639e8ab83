# Two commands do all set-up: `make demo` and `make test`. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help

# Nothing here talks to anything but the package registries, at install time, and the loopback.
export SAM_CLI_TELEMETRY := 0
export AWS_EC2_METADATA_DISABLED := true
export PYTHONNOUSERSITE := 1
# Without byte code every process compiles what it imports: twice the time to start.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
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

.PHONY: help demo fast test check lint types template-lint build audit smoke bench bench-slow bench-console calls contract protocol faults mutants mutation kills why bulk pauses sends up down format docs picture pictures record lock clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

# BUNDLE=1 runs what `make build` makes, instead of the sources.
demo: .venv/.stack ## run real orders through the whole pipeline on a local stack, then stop and remove it
	@$(if $(call given,BUNDLE),$(MAKE) build BUILD=.aws-sam/demo ARCHITECTURE=$(HERE))
	@$(HOLD_INTERRUPT) $(PY) -m tools demo $(if $(call given,BUNDLE),--template .aws-sam/demo/template.yaml)

# On JOBS processes (0: on this one). Four keep two cores busy, because the tests of a stack often wait. The tests of a
# file share their stack, so they stay together. Without --no-loadscope-reorder the files with the fewest tests would come
# last, and those take longest: tests/conftest.py has the order.
JOBS ?= 4
BY_FILE := --dist loadfile --no-loadscope-reorder
test: check ## every check and every test, but for the model's largest scenarios
	@$(PY) -m pytest -n $(JOBS) $(BY_FILE) -m 'not large' $(PYTEST)

# After a change of the ledger's protocol. PROTOCOL_SEEDS=n: more random runs of the code beside the model.
protocol: .venv/.dev ## the model of the ledger's protocol in every scenario, and the code beside it
	@$(PY) -m pytest -q -n 2 tests/protocol $(PYTEST)

# Fewer examples than `make test`, and without the tests that are marked slow.
NEEDS_NO_STACK := tests/unit tests/integration tests/protocol tests/template
fast: check ## every check, and the tests that need no stack (under a minute)
	@HYPOTHESIS_EXAMPLES=20 $(PY) -m pytest -q -n 2 $(BY_FILE) -m 'not slow' $(NEEDS_NO_STACK) $(PYTEST)

# TEMPLATE=path STACK=name deploys another template to it, beside what is there.
up: .venv/.stack ## start the local stack in the background and deploy template.yaml to it
	@$(HOLD_INTERRUPT) $(PY) -m tools up $(if $(call given,TEMPLATE),'$(TEMPLATE)') $(if $(call given,STACK),--stack '$(STACK)')

down: ## end the local stack
	@if [ -x $(PY) ]; then $(HOLD_INTERRUPT) $(PY) -m tools down; else echo "no local stack: nothing is installed"; fi

# For any processor, on any machine: uv takes the wheels of Lambda's. Byte code fits one version of Python.
HERE := $(if $(filter x86_64 AMD64,$(shell uname -m)),x86_64,arm64)
ARCHITECTURE := arm64
BUILD := .aws-sam/build
build: .venv/.dev ## make the bundle for Lambda in .aws-sam/build, where `sam deploy` reads it: ARCHITECTURE=arm64
	@python=$$($(PY) -m durable_local.ministack.patches.interpreters 3.13) || { echo "make build: byte code for Lambda" \
		"needs Python 3.13, and none is on PATH, in pyenv or in uv. To get one: .venv/bin/uv python install 3.13" >&2; exit 1; }; \
	rm -rf '$(BUILD)/code.zip' '$(BUILD)/template.yaml' '$(BUILD).wheels'; \
	$(UV) pip install --target '$(BUILD).wheels' --python-platform $(ARCHITECTURE:arm64=aarch64)-manylinux2014 \
		--python-version 3.13 --only-binary :all: --require-hashes --no-deps --link-mode copy -r src/requirements.txt; \
	$$python -I tools/bundle.py '$(BUILD).wheels' '$(BUILD)' $(ARCHITECTURE); \
	rm -r '$(BUILD).wheels'

# On AWS with the shell's credentials. It leaves two forgotten orders in the ledger: docs/deployment.md.
smoke: .venv/.stack ## send a few orders to a stack and check what becomes of them: on AWS with STACK=name, else here
	@$(if $(call given,STACK),env -u AWS_EC2_METADATA_DISABLED) $(PY) -m tools.smoke $(if $(call given,STACK),--stack '$(STACK)')

# The stack is durable_local/tests/fixture/contract, deployed with `sam build` and `sam deploy`.
contract: .venv/.stack ## run the contract tests: against AWS with STACK=name (and the shell's credentials), else here
	@$(if $(call given,STACK),CONTRACT_STACK='$(STACK)') $(PY) -m pytest durable_local/tests/test_contract.py $(PYTEST)

# Twenty minutes or more. SEED=n runs that one alone: what a failure prints to run it again.
faults: .venv/.stack ## inject faults into many orders, by seeds, and count them: SEEDS=20 ORDERS=50
	@$(PY) -m tests.faults.seeded faults --orders $(or $(ORDERS),50) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20))

mutants: .venv/.stack ## remove each mechanism from a copy of the sources, until a seed detects it
	@$(PY) -m tests.faults.seeded mutants --orders $(or $(ORDERS),50)

# About ten minutes. SAMPLE=0 tests all 4,400 mutants.
mutation: .venv/.dev ## change one expression of src/ at a time, until a test notices: SAMPLE=60 SEED=1
	@HYPOTHESIS_EXAMPLES=20 nice -n 10 $(PY) -m tests.mutation --sample $(or $(SAMPLE),60) --seed $(or $(SEED),1)

# The test that `make test` runs too, with its table.
calls: .venv/.stack ## print what each role allows and who uses it: its function's calls, Lambda in its name (two minutes)
	@$(PY) -m pytest -q -s tests/faults/test_every_point_of_recovery.py -k what_its_function_calls

kills: .venv/.stack ## send real purchases while workers are killed every few seconds: ORDERS=2000
	@$(PY) -m tests.faults.seeded kills --orders $(or $(ORDERS),2000) $(if $(SEED),--seed $(SEED))

# About twenty minutes.
why: .venv/.stack ## inject each fault TIMES=10 times and compare what `orders why` says; ask about ORDERS=2000 healthy orders
	@$(PY) -m tests.faults.causes --times $(or $(TIMES),10) --orders $(or $(ORDERS),2000)

bulk: .venv/.stack ## let many orders fail by three causes and retry them, one job killed midway: ORDERS=1000
	@$(PY) -m tests.faults.drills bulk $(or $(ORDERS),1000)

pauses: .venv/.stack ## pause many waiting orders, the pause killed midway, and resume them: ORDERS=1000
	@$(PY) -m tests.faults.drills pauses $(or $(ORDERS),1000)

sends: .venv/.stack ## send a long file with bad lines, and measure the memory: LINES=10000
	@$(PY) -m tests.faults.drills sends $(or $(LINES),10000)

# At most twelve minutes. The bundle is for this machine's processor; Python 3.13 runs it, as on Lambda.
bench: .venv/.stack .venv-naive/.installed ## measure what bench/README.md lists, against its targets and peers
	@$(MAKE) build ARCHITECTURE=$(if $(filter x86_64 AMD64,$(shell uname -m)),x86_64,arm64) BUILD=.local/bench/bundle
	@$(PY) -m bench --python "$$($(PY) -m durable_local.ministack.patches.interpreters 3.13)"

# Half an hour on an idle machine. ONLY='--commands up --orders' measures `make up` alone.
bench-slow: .venv/.stack .venv-sam/.installed ## measure the local stack with 200 and 2,000 orders, and make up, demo, fast and test
	@$(PY) -m bench.slow $(ONLY)

# About a quarter of an hour on an idle machine. MINUTES=1 holds the tabs open for one minute, and writes no results.
bench-console: .venv/.stack ## time the console's screens with 10,000 orders, and its memory with ten open tabs
	@$(PY) -m bench.console $(if $(MINUTES),--minutes $(MINUTES))

check: .venv/.stack .venv-sam/.installed ## formatting, lint, types, import directions, replay safety, the template
	@$(MAKE) -j2 --output-sync lint types template-lint

lint:
	@$(PY) -m ruff format --check --quiet . || { echo "make format corrects this"; exit 1; }
	@$(PY) -m ruff check --quiet .
	@out=$$($(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint(["--no-cache"])') || { echo "$$out"; exit 1; }

types:
	@$(PY) -m mypy

template-lint:
	@$(PY) -m tools.template_check

# Asks PyPI about each pin: without it, or where it does not know a package, this fails.
audit: .venv/.stack .venv-sam/.installed .venv-audit/.installed .venv-naive/.installed ## known vulnerabilities and licences of all lock files, the template's security, an SBOM
	@$(PY) -m tools.audit

format: .venv/.dev ## format the code and correct what ruff can
	@$(PY) -m ruff format --quiet . && $(PY) -m ruff check --quiet --fix .

docs: .venv/.dev ## generate docs/states.md and docs/order.schema.json
	@$(PY) -m tools.generated_docs

picture: .venv/.stack ## run the demo and write what it prints to docs/demo.svg
	@COLUMNS=100 $(PY) -m tools demo --svg docs/demo.svg | cat

# About two minutes. Chromium or Chrome is on PATH, or CHROMIUM=path. durable_local/tests has the browser.
pictures: .venv/.stack ## write the pictures of the console's screens to docs/console, those of all sizes to .local/pictures
	@PYTHONPATH=durable_local/tests $(PY) -m tests.e2e.console_pictures

record: .venv/.stack ## record the executions that tests/replay replays, on a local stack
	@$(PY) -m tests.replay.record

# The index options keep the addresses of whoever compiles out of the lock files.
LOCK = $(UV) pip compile --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-strip-extras --generate-hashes
lock: .venv/bin/uv ## compile the lock files from pyproject.toml and durable_local/pyproject.toml
	$(LOCK) pyproject.toml -o src/requirements.txt
	$(LOCK) pyproject.toml durable_local/pyproject.toml --group dev -c src/requirements.txt -o requirements/dev.txt
	for group in audit naive sam uv; do $(LOCK) --group $$group -o requirements/$$group.txt; done
	$(LOCK) --group durable_local/pyproject.toml:ministack -o durable_local/src/durable_local/ministack.lock.txt

clean: down ## remove what was installed and written here
	rm -rf .venv .venv-* .local .mypy_cache .pytest_cache .ruff_cache .hypothesis .aws-sam build mutants

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
.venv-audit/.installed: requirements/audit.txt
.venv-naive/.installed: requirements/naive.txt
# The naive peer runs on the Python that Lambda has, if there is one.
.venv-naive/.installed: VENV_PYTHON = $(or $(shell $(PY) -m durable_local.ministack.patches.interpreters 3.13 || true),$(PY))
VENV_PYTHON = $(PY)
.venv-%/.installed: | .venv/bin/uv
	@echo "installing .venv-$* …"
	@$(UV) venv --clear --python $(VENV_PYTHON) .venv-$*
	@$(UV_SYNC) --python .venv-$*/bin/python $(filter %.txt,$^)
	@touch $@

# MiniStack pins a botocore that is older than the durable SDK needs.
.venv/.ministack: $(addprefix durable_local/src/durable_local/,ministack.lock.txt ministack_environment.py) | .venv/.dev
	@echo "installing MiniStack (durable-local install) …"
	@$(PY) -m durable_local install
	@touch $@

.venv/.stack: .venv/.dev .venv-functions/.installed .venv/.ministack
	@touch $@
