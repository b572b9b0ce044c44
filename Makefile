# Two commands: `make demo` runs the whole path, `make test` checks it. Each does its own set-up in .venv.
# One recipe does the set-up; a stamp per set of extras keeps it from running twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECT := pyproject.toml runtime/pyproject.toml ir/jitcore_ir/version.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= auto

.PHONY: demo test lint clean

# One thread for NumPy's BLAS and for compiled code, so that the demo's eager and compiled times compare.
demo: $(VENV)/demo.stamp
	OPENBLAS_NUM_THREADS=1 JITCORE_NUM_THREADS=1 $(BIN)/jitcore demo --output out

# One BLAS thread per test process: several processes with several spinning threads each slow one another a hundredfold.
test: $(VENV)/test.stamp
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -q

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/%.stamp: $(PROJECT)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e ./runtime -e '.[$*]'
	touch $@

clean:
	rm -rf $(VENV) .venv-runtime out build dist
