# Every target does its own set-up. `make run ARGS="--for 10s"`, `make test ARGS="tests/mapping -n0 -x"`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS   ?=

.PHONY: run test lint soak soak-leaks bench format docs requirements clean

run: $(VENV)/.runtime           ## watch store sales go through the gateway to a stand-in for Meta
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/.dev              ## the tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.dev              ## style, types, and which room may know which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak-leaks: $(VENV)/.runtime    ## an even load for five minutes: whether memory grows, `make soak-leaks ARGS="--seconds 3600"`
	$(BIN)/python -m bench --only soak $(ARGS)

soak: $(VENV)/.dev              ## longer proofs: kills for ten minutes, `make soak ARGS="--seconds 3600"`
	$(BIN)/python -m tests.crash.kill --seconds 600 $(ARGS)

bench: $(VENV)/.runtime         ## what it does here, beside floors of the same run: three minutes, `ARGS=--full` for long
	$(BIN)/python -m bench $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.runtime          ## the pages that are made from the code
	$(BIN)/python -m tools.reference_pages

requirements:                   ## new pins; needs uv
	for name in build runtime dev; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --no-header --quiet --upgrade requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.venv requirements/runtime.txt requirements/build.txt pyproject.toml
	$(PIP) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@
