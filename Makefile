# Every target makes its own virtual environment first: a machine with Python 3.11 or newer and make is enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# How many test files run at once. In the order of their folders, which begins with the longest: not with the most tests.
WORKERS ?= auto

# Looked at first: a folder that an older Python made would be in the way of the right one.
define new_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "skrkit needs Python 3.11 or newer, and $(PYTHON) is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
$(PYTHON) -m venv $(VENV)
endef

.DEFAULT_GOAL := help
.PHONY: help walkthrough lab test lint bench format clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(VENV)/.run: pyproject.toml
	$(new_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(new_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,lab]'
	@touch $(VENV)/.run $(VENV)/.lab $@

$(VENV)/.lab: pyproject.toml
	$(new_venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lab]'
	@touch $(VENV)/.run $@

$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,lab,browser]'
	@touch $@

walkthrough: $(VENV)/.run ## the four steps in the sandbox, every artefact in sight, no account needed
	@$(BIN)/skrkit walkthrough

lab: $(VENV)/.lab ## the notebooks in JupyterLab, in the browser
	@$(BIN)/skrkit lab

test: $(VENV)/.dev ## run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.browser ## print figures and ratios, each beside the bare calls it needs
	$(BIN)/python -m pytest tests/bench -m bench -o python_files='bench_*.py' --benchmark-columns=median,iqr,rounds --benchmark-max-time=0.5 -q

.PHONY: bench-load
bench-load: $(VENV)/.dev ## fifty clients for a minute, ten thousand keys, a hundred kills: does the sandbox hold?
	SKRKIT_BENCH_LOAD_S=60 SKRKIT_BENCH_KILLS=100 $(BIN)/python -m pytest tests/bench/bench_load.py tests/bench/bench_releases.py -m bench -o python_files='bench_*.py' -q

.PHONY: notebooks workshop
notebooks: $(VENV)/.dev ## execute the notebooks anew and write them with their outputs
	$(BIN)/python notebooks/build.py

workshop: $(VENV)/.dev ## twenty attendees at once on this machine, notebooks 01 to 04: does it hold, and what does it take?
	$(BIN)/python notebooks/workshop.py

format: $(VENV)/.dev ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the virtual environment and what tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
