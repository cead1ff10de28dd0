# `make run` starts the store on this machine, `make test` tests it; both set up .venv first.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run demo image deploy open test test-quick test-kubernetes simulate bench bench-quick lint clean

run: $(VENV)
	@$(BIN)/python -m serve_app run $(ARGS)

demo: $(VENV)
	@$(BIN)/python -m serve_app demo $(ARGS)

# On Kubernetes. IMAGE is what your cluster pulls, or has been given; DOCKER may be podman or buildah.
IMAGE ?= cloud-storage:0.1.0
DOCKER ?= docker

image:
	$(DOCKER) build --file kuberay/Dockerfile --tag $(IMAGE) .

deploy: $(VENV)
	@$(BIN)/python -m kuberay deploy --image $(IMAGE) $(ARGS)

open: $(VENV)
	@$(BIN)/python -m kuberay open $(ARGS)

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
	$(BIN)/pytest -m 'not ray and not browser and not strace and not kubernetes'

test: lint
	$(BIN)/pytest

SEEDS ?= 1000

simulate: $(VENV)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# On the cluster that KUBECONFIG names, with KubeRay in it, in a namespace of its own; some 15 minutes.
test-kubernetes: $(VENV)
	@IMAGE=$(IMAGE) $(BIN)/pytest -m kubernetes tests/kubernetes -v

bench: $(VENV)
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)
	$(BIN)/python -m benchmarks --quick $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
