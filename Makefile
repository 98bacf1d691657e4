# Every target installs what it needs in .venv. ARGS are passed on: `make run ARGS="--for 10s"`,
# `make test ARGS="tests/mapping -n0 -x"`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS   ?=
NATIVE := hatch_build.py $(wildcard gateway/mapping/native/src/*)

.PHONY: run test proofs lint fuzz soak soak-hostile soak-leaks bench wheels format docs screenshots requirements clean

run: $(VENV)/.runtime           ## run a demo: generated sales pass through a gateway to a simulation of Meta
	@$(BIN)/gateway demo $(ARGS)

test: $(VENV)/.dev              ## run the tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

proofs: $(VENV)/.dev            ## run the longer tests: faults planted in the C code, attacks together
	$(BIN)/python -m pytest -n auto --dist worksteal -m proof $(ARGS)

lint: $(VENV)/.dev              ## check style, types, and the import order of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.dev              ## compare the native extension with Python, under sanitizers: ARGS="--seconds 600"
	$(BIN)/python -m tests.mapping.native.fuzz $(ARGS)

soak-leaks: $(VENV)/.runtime    ## check for memory leaks: constant load for 5 minutes, or ARGS="--seconds 3600"
	$(BIN)/python -m bench --only soak $(ARGS)

soak: $(VENV)/.dev              ## kill a loaded gateway again and again for 10 minutes, or ARGS="--seconds 3600"
	$(BIN)/python -m tests.crash.kill --seconds 600 $(ARGS)

soak-hostile: $(VENV)/.dev      ## attack a gateway with hostile input for 10 minutes, or ARGS="--seconds 3600"
	$(BIN)/python -m tests.hostile.soak $(ARGS)

bench: $(VENV)/.runtime         ## measure throughput and latency on this machine: 3 minutes, or longer with ARGS=--full
	$(BIN)/python -m bench $(ARGS)

wheels: $(VENV)/.wheels         ## build a wheel with the native extension, for CPython 3.11 and later, in dist/
	rm -rf dist
	GATEWAY_BUILD_NATIVE=required $(BIN)/python -m hatchling build --target wheel
	$(BIN)/abi3audit --strict --verbose dist/*.whl
	PATH="$(CURDIR)/$(BIN):$$PATH" auditwheel repair --wheel-dir dist dist/*-linux_*.whl && rm dist/*-linux_*.whl \
	  || echo "this wheel runs only where the C library is as new as here; build it in a manylinux container"

format: $(VENV)/.dev            ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.runtime          ## write the documentation pages that are generated from the code
	$(BIN)/python -m tools.reference_pages

screenshots: $(VENV)/.dev       ## take the pictures of the console in docs/screenshots; needs Chromium
	$(BIN)/python -m tools.screenshots

requirements:                   ## update the pinned requirements; needs uv
	for name in build runtime dev wheels; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --no-header --quiet --upgrade requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done

clean:                          ## remove .venv, caches and build results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist gateway/mapping/native/*.so

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required; choose one with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.venv requirements/runtime.txt requirements/build.txt pyproject.toml $(NATIVE)
	$(PIP) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.wheels: $(VENV)/.dev requirements/wheels.txt
	$(PIP) --require-hashes -r requirements/wheels.txt
	@touch $@
