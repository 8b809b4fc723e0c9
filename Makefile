# `make demo` and `make test` set up everything they need in .venv and re-use it while pyproject.toml is unchanged.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check docs notebook wheel clean

SAMPLE := data/sample

demo: $(STAMP)
	$(BIN)/vt curate clevrer --annotations $(SAMPLE)/annotation_train --questions $(SAMPLE)/train.json --videos $(SAMPLE)/video_train \
		--rule oracle --split sample --out demo/sample
	$(BIN)/vt demo --out demo

test: check
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy videothinker
	$(BIN)/python -m pytest -q tests/test_borders.py

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebook: $(STAMP)
	$(BIN)/python docs/notebooks_run.py

# build/ goes first: setuptools would put what an earlier build left there into the wheel.
wheel:
	rm -rf build
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[models,train,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo site build dist *.egg-info
