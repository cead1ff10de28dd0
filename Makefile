# `make run` starts the store on this machine, `make test` tests it; both set up .venv first.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run demo image deploy open help test test-quick test-kubernetes simulate coverage bench bench-quick lint clean

run: $(VENV) ## start Ray and the store on this machine; Ctrl-C stops both
	@$(BIN)/python -m serve_app run $(ARGS)

demo: $(VENV) ## load a real data set into the running store, and read every byte back
	@$(BIN)/python -m serve_app demo $(ARGS)

# On Kubernetes. IMAGE is what your cluster pulls, or has been given; DOCKER may be podman or buildah.
IMAGE ?= cloud-storage:0.1.0
DOCKER ?= docker

image: ## build the store's image (IMAGE=…, DOCKER=…)
	$(DOCKER) build --file kuberay/Dockerfile --tag $(IMAGE) .

deploy: $(VENV) ## put the store on the Kubernetes cluster that kubectl speaks to
	@$(BIN)/python -m kuberay deploy --image $(IMAGE) $(ARGS)

open: $(VENV) ## open the API of the store on Kubernetes on http://localhost:8888
	@$(BIN)/python -m kuberay open $(ARGS)

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 24

# A stamp rather than the folder: an interrupted set-up is done again.
$(VENV): $(VENV)/.complete

$(VENV)/.complete: constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed; on Debian: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian: apt-get install python3.11-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

lint: $(VENV) ## check style, types and the arrows between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

NEEDS_RAY := ray or strace

test-quick: $(VENV) ## run the tests that need no Ray, some 5 minutes
	$(BIN)/pytest -m 'not ($(NEEDS_RAY)) and not kubernetes'

# What needs a Ray (NEEDS_RAY) alone, for Ray's workers are niced and anything beside them takes their time; then the rest in
# two processes, by file, for some tests of a file look at what others of it have seen.
test: lint ## lint, then run all tests, some 45 minutes
	@failed=0; \
	$(BIN)/pytest -m '($(NEEDS_RAY)) and not kubernetes' || failed=$$?; \
	$(BIN)/pytest -m 'not ($(NEEDS_RAY)) and not kubernetes' -n 2 --dist loadfile || failed=$$?; \
	exit $$failed

# Of what needs no Ray: Ray's workers are not measured. Put-in bugs would count as the product, so they are left out.
coverage: $(VENV) ## measure which lines the tests reach that need no Ray, some 15 minutes
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q --ignore=tests/simulation \
		-m 'not ($(NEEDS_RAY)) and not kubernetes'
	$(BIN)/coverage run --concurrency=greenlet -m pytest -q --ignore=tests/simulation/test_finds_bugs.py tests/simulation
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

SEEDS ?= 1000

simulate: $(VENV) ## run the whole store on simulated clocks, networks and disks (SEEDS=1000)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# On the cluster that KUBECONFIG names, with KubeRay in it, in a namespace of its own; some 15 minutes.
test-kubernetes: $(VENV) ## test on a real cluster, some 15 minutes
	@IMAGE=$(IMAGE) $(BIN)/pytest -m kubernetes tests/kubernetes -v

bench: $(VENV) ## measure every figure of the docs
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV) ## measure the main figures, briefly
	$(BIN)/python -m benchmarks --quick $(ARGS)

clean: ## remove .venv and all caches; data/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
