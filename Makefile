# `make run` and `make test` need Python 3.11 or newer, git and make; everything else is installed into .venv.
# make run PYTHON=python3.12   uses another interpreter.    make run ARGS='--depth 3'   passes options to the job, which
# ends by saying where its picture lies.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/phase2
PIP_WHEEL_URL ?=
PIP_WHEEL_SHA256 := 9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd

.PHONY: run test figures verify bench clean

run: $(VENV)/.installed-run
	$(BIN)/python -m numerics.run phase2 --out $(OUT) $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

verify: $(VENV)/.installed-test
	$(BIN)/python -m pytest verify $(ARGS)

figures: $(VENV)/.installed-run
	$(BIN)/python -m paper_figs $(ARGS)

bench: $(VENV)/.installed-run
	$(BIN)/python -m numerics.run bench $(ARGS)

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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,test]'
	@touch $@ $(VENV)/.installed-run

# Debian's python3 may come without ensurepip (package python3-venv). Then pip comes from the system's pip, or from
# PyPI as one wheel checked against its hash.
define FETCH_PIP
import hashlib, sys, urllib.request
data = urllib.request.urlopen(sys.argv[1], timeout=60).read()
if hashlib.sha256(data).hexdigest() != sys.argv[2]:
    sys.exit("the pip wheel does not have the expected SHA-256")
open(sys.argv[3], "wb").write(data)
endef
export FETCH_PIP

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "PYTHON = $(PYTHON) is missing or older than 3.11; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV) || { \
	  $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	  { $(PYTHON) -m pip --python $(BIN)/python install --quiet pip 2>/dev/null || \
	    { wheel=$(VENV)/pip-25.3-py3-none-any.whl && \
	      $(PYTHON) -c "$$FETCH_PIP" $(PIP_WHEEL_URL) $(PIP_WHEEL_SHA256) $$wheel 2>/dev/null && \
	      $(BIN)/python $$wheel/pip install --quiet --no-index $$wheel; }; }; } || { \
	  rm -rf $(VENV); \
	  echo "venv = $(VENV) could not be made with pip in it; run: sudo apt install python3-venv" >&2; exit 2; }
