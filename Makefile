# `make quickstart` and `make test` work on a machine with nothing but Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: quickstart install dev test test-all check clean

quickstart: install
	$(BIN)/corpus build recipes/quickstart.yaml
	$(BIN)/trainer fit --phase 1 --config recipes/train_quickstart.yaml
	$(BIN)/trainer fit --phase 2 --config recipes/train_quickstart.yaml
	$(BIN)/trainer eval --config recipes/train_quickstart.yaml
	$(BIN)/trainer generate "The history of the United States" --config recipes/train_quickstart.yaml

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=python3.12, say") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

# Tests that need real files look where CORPUS_TEST_DATA points, and skip without it (docs/testing.md).
test: dev
	GRISTMILL_LID="$$($(BIN)/python -m tests.fetch_models)" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-all: dev
	GRISTMILL_LID="$$($(BIN)/python -m tests.fetch_models)" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
