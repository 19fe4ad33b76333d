# Two commands do everything: `make run` and `make test`. The others are parts of them or are run by hand.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
# Named so that pip resolves one tested build; any torch within pyproject's range may replace it in .venv afterwards.
TORCH ?= torch==2.13.0
BIN := .venv/bin
# Most tests wait for one process to import torch: two files at a time fill two cores.
TESTS_AT_ONCE ?= 2
# pytest needs no display: real-window tests start an Xvfb of their own.
PYTEST := QT_QPA_PLATFORM=offscreen $(BIN)/python -P -m pytest

.PHONY: run install test lint bench torture gpu clean

run: install
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then \
		$(BIN)/bitpress; \
	else \
		echo "There is no display here, so Bitpress runs its demo instead of opening the window."; \
		$(BIN)/bitpress demo; \
	fi

install: .venv/installed
	@sh packaging/system-libraries.sh run

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "bitpress: please install Python 3.11 or newer, with venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bitpress: Python 3.11 or newer is needed; $(PYTHON) is older" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install -q --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check --group dev
	@touch $@

test: lint
	@sh packaging/system-libraries.sh test
	$(PYTEST) -m "not gpu" -n $(TESTS_AT_ONCE) --dist loadfile

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All of them take hours: BENCH="job evaluate" runs those alone.
bench: .venv/installed-dev
	@sh packaging/system-libraries.sh test
	$(BIN)/python tests/bench/all.py $(BENCH)

# At full size; TORTURE="fuzz_inputs" runs that alone. `make test` does the same in little.
torture: .venv/installed-dev
	@sh packaging/system-libraries.sh test
	QT_QPA_PLATFORM=offscreen PYTHONPATH=. $(BIN)/python -P tests/torture/all.py $(TORTURE)

gpu: .venv/installed-dev
	$(PYTEST) -m gpu -s tests/gpu

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-artifacts .test-home .test-home.lock bitpress-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
