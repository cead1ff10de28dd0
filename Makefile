# `make run` starts the store on this machine, `make test` tests it; both set up .venv first.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run demo test test-quick bench bench-quick lint clean

run: $(VENV)
	@$(BIN)/python -m serve_app run $(ARGS)

demo: $(VENV)
	@$(BIN)/python -m serve_app demo $(ARGS)

# A stamp rather than the folder: an interrupted set-up is done again.
$(VENV): $(VENV)/.complete

$(VENV)/.complete: constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed; on Debian: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian: apt-get install python3.11-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

lint: $(VENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-quick: $(VENV)
	$(BIN)/pytest -m 'not ray and not browser and not strace'

test: lint
	$(BIN)/pytest

bench: $(VENV)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)
	$(BIN)/python -m benchmarks --quick $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
