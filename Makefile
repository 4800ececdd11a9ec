# One environment, .venv, made from requirements.lock; every target makes what it needs.
.PHONY: demo test test-fast check bench clean env lock
unexport PYTHONDONTWRITEBYTECODE  # else every process compiles all that it imports

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.made-from-lock
CANDIDATES := python3.14 python3.13 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[2-9]*/bin/python) python3

PARALLEL := -n auto --dist worksteal

demo: env
	$(VENV)/bin/dpipe demo .demo

test: env
	$(PYTHON) -m coverage erase
	$(PYTHON) -m pytest $(PARALLEL) --cov --cov-report=term-missing:skip-covered --cov-fail-under=95 $(ARGS)

test-fast: env  # without faults and what is slow; nothing is measured
	$(PYTHON) -m pytest $(PARALLEL) -m "not faults and not slow" $(ARGS)

check: env
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

bench: env
	$(PYTHON) benchmarks/movies.py
	$(PYTHON) benchmarks/cytometry.py
	$(PYTHON) benchmarks/growth.py
	$(PYTHON) benchmarks/masks.py
	$(PYTHON) benchmarks/start.py

env: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	rm -rf $(VENV)
	@for python in $(CANDIDATES); do \
	  if $$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
	    echo "environment: $(VENV), with $$($$python --version)"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "dpipe needs Python 3.12 or newer; install python3.13 and its venv module" >&2; exit 1
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(PYTHON) --require-hashes requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --editable .
	$(PYTHON) -m compileall -q dpipe
	touch $@

lock: env
	$(VENV)/bin/uv pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.12 \
	  --generate-hashes --no-header --no-emit-index-url --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) .demo .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
