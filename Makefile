# `make run` and `make test` need Python 3.11 or newer, git and make; everything else is installed into .venv.
# make run PYTHON=python3.12   uses another interpreter.    make run ARGS='--depth 3'   passes options to the job, which
# ends by saying where its picture lies.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/phase2

DEVICE ?= cuda

.PHONY: run test figures verify bench device docs clean

run: $(VENV)/.installed-run
	$(BIN)/python -m numerics.run phase2 --out $(OUT) $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

verify: $(VENV)/.installed-test
	$(BIN)/python -m pytest verify $(ARGS)

figures: $(VENV)/.installed-run
	$(BIN)/python -m paper_figs $(ARGS)

docs: $(VENV)/.installed-docs
	$(BIN)/python docs/_ext/readme_table.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(VENV)/.installed-run
	$(BIN)/python -m numerics.run bench $(ARGS)

# What a machine with a card is for; ARGS='--only tests' (bench, diagram) runs a part of it, below ten minutes. DEVICE=cpu
# tries it without a card. The interpreter may be one that has torch with CUDA, triton and what the tests import:
# make device BIN=/usr/bin
device:
	$(BIN)/python3 -m numerics.run device-check --device $(DEVICE) $(ARGS)

# Results in out/ stay.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-run: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV) (once, a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV), torch and the test tools too (once, some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,gpu,app,browser,cluster,test]'
	@touch $@ $(VENV)/.installed-run

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing what the pages need into $(VENV) (once, some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,docs]'
	@touch $@ $(VENV)/.installed-run

# Debian's python3 comes without ensurepip until python3-venv is installed: done here where that needs no password.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "PYTHON = $(PYTHON) is missing or older than 3.11; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "Installing the Debian package python3-venv ..."; \
	  if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi; \
	  $$as_root apt-get -qq update && $$as_root apt-get -qq -y install python3-venv; } >&2 || { \
	  echo "venv = $(VENV) could not be made with pip in it; run: sudo apt install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "venv = $(VENV) could not be made; install the venv package of $(PYTHON)" >&2; exit 2; }
