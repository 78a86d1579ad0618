# make demo | test | check | fuzz | lint | docs | clean. Choose the interpreter with PYTHON=python3.13, the number of
# processes that run tests with WORKERS=4, and options of the demo with DEMO="--integration laplace --starts 1".
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin

# Both installs share one environment, so each removes the other's stamp.
PLAIN := .venv/.installed-plain
EDITABLE := .venv/.installed-editable
DOCUMENTED := .venv/.installed-docs
RECIPE := setup.cfg pyproject.toml
SOURCES := $(shell find latentscale data -type f -not -name '*.pyc')

# An idle process takes tests from the other's list. One thread each: two processes of several would wait for each other.
TEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test check fuzz lint docs clean

demo: $(PLAIN)
	$(BIN)/latentscale demo $(DEMO)

# A sample of every room, the command line, a small demo and README's first example: minutes.
test: $(EDITABLE)
	$(TEST) -m "not slow and not study"

# Everything that a change must pass.
check: lint $(EDITABLE)
	$(TEST) --durations=30
	$(MAKE) docs

# Property tests on examples that were never drawn before; a failure prints how to repeat it.
fuzz: $(EDITABLE)
	$(TEST) -m hypothesis --hypothesis-profile=random

lint: $(EDITABLE)
	$(BIN)/ruff check .
	$(BIN)/python tests/lint/sizes.py
	$(BIN)/python -m mypy

# -E: pages are written anew, as sidebars of unchanged ones would stay behind.
docs: $(DOCUMENTED)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf .venv build dist *.egg-info docs/_build docs/_generated

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "latentscale needs Python 3.11 or newer, but '$(PYTHON)' is older or missing;" \
	       "try: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	touch $@

# A build/ folder left by an earlier install would put deleted modules back into the wheel.
$(PLAIN): .venv/.created $(RECIPE) $(SOURCES)
	rm -rf build
	$(BIN)/python -m pip install .
	rm -f $(EDITABLE)
	touch $@

$(EDITABLE): .venv/.created $(RECIPE)
	$(BIN)/python -m pip install -e '.[test]'
	rm -f $(PLAIN)
	touch $@

$(DOCUMENTED): $(EDITABLE)
	$(BIN)/python -m pip install -e '.[docs]'
	touch $@
