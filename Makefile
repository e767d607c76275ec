# make demo: set up, then predict and evaluate on pairs that leadline renders itself.
# make test: set up, then run the tests. Both need Python 3.11 or newer and a C compiler, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TARGETS_READY := $(VENV)/ready-targets

# Waiting threads must not spin: on shared machines that makes torch many times slower.
export OMP_WAIT_POLICY = PASSIVE
# A cache inside the checkout, so that nothing is written to the home folder.
export MPLCONFIGDIR = $(CURDIR)/$(VENV)/matplotlib

.PHONY: setup setup-targets demo test test-all lint format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("leadline needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# The runtimes of all export targets too: about 3 GB. Tests of what is not installed are skipped.
setup-targets: $(TARGETS_READY)

$(TARGETS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[onnx,tflite,tensorflow,caffe,openvino,ncnn]'
	touch $(TARGETS_READY)

demo: setup
	$(BIN)/leadline demo -o out/demo

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-all: setup-targets
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) out build src/*.egg-info
