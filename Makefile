# `make demo` and `make test` need Python 3.11 or newer and nothing else: each
# makes .venv, installs the package with what it needs, and runs.

VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n auto --dist worksteal
# Which tests `make test` runs: all, with TESTS="long or not long".
TESTS ?= not long

# The first interpreter on the PATH that is new enough; PYTHON=... chooses another.
CANDIDATES := python3 python python3.14 python3.13 python3.12 python3.11
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

.PHONY: installed demo test test-long lint types docs wheel gpu-kit clean

demo: $(VENV)/.installed-plot
	$(BIN)/python -m cubie.demo

# One case of each of the tests that take longest; `test-long` runs the others, CI both at once.
test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "$(TESTS)" $(PYTEST_ARGS)

test-long: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-lint $(VENV)/.installed-test
	$(BIN)/pyright

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs

# Build the wheel and use it where neither this tree nor the test tools are installed.
wheel: $(VENV)/.made
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet build/wheel/*.whl
	cd build/wheel && venv/bin/python -P ../../tests/wheel_check.py

# What runs `python -m benchmarks gpu` on a machine with a GPU and no network: build/gpu-kit.
# KIT_PYTHON is the Python there; KIT_OPTIONS may be `--without NAME` or `--require NAME==VERSION`.
KIT_PYTHON ?= 3.12
KIT_OPTIONS ?=
gpu-kit: $(VENV)/.made
	$(BIN)/python -m benchmarks.gpu.kit --python $(KIT_PYTHON) $(KIT_OPTIONS) build/gpu-kit

clean:
	rm -rf build dist demo-output docs/_generated docs/examples

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "cubie needs Python 3.11 to 3.14; none found on the PATH. Give one: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -c '$(SUPPORTED)' || { echo "cubie needs Python 3.11 to 3.14; $(PYTHON) is another version." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

# All that any command here needs, by one look at what there is: pip takes seconds for each. Python
# compiles what is imported when it is: all of it takes pip half a minute.
EXTRAS := docs lint plot test
COMMA := ,
installed: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[$(subst $() ,$(COMMA),$(EXTRAS))]"
	touch $(EXTRAS:%=$(VENV)/.installed-%)

# Installed in place, so that what runs is always the code as it is.
$(VENV)/.installed-%: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	touch $@
