# Each target works from an empty clone: what it needs is set up first, and only what is not there yet.

# make setup PYTHON=/path/to/python3.12 chooses the interpreter; else scripts/find_python.sh does.
PYTHON ?=
# make acceptance PART=2/6 runs the second of six parts and goes on where it was stopped.
PART ?= 1/1
SET_UP = python=$(PYTHON); python=$${python:-$$(scripts/find_python.sh)} && $$python scripts/bootstrap.py
DEV := .venv/dev/bin
export TZ := UTC
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests demo down test acceptance check bench format lock

help: ## List what there is to make
	@echo "marketlake: make <target>"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Set up the environments, jars and Java from their lock files
	@$(SET_UP)

setup-tests: ## The same, with what the checks and tests need
	@$(SET_UP) --with-tests

demo: setup ## Set up, start Airflow and run the daily pipeline over three days, end to end
	@bin/marketlake demo

down: ## Stop everything that the demo or a command started
	@bin/marketlake down

test: setup-tests ## Run the tests, with the coverage of lines
	@scripts/run_tests.sh

acceptance: setup-tests ## Run the long proofs, or a part of them: make acceptance PART=2/6
	@PART=$(PART) scripts/run_acceptance.sh

check: setup-tests ## Run all static checks
	@scripts/run_checks.sh

bench: ## Measure; writes build/bench.json and prints a table
	@$(SET_UP) --with-tests --with-peers
	@PYTHONPATH=plugins:. $(DEV)/python -m tests.bench

format: setup-tests ## Format the code
	@$(DEV)/ruff check --fix-only --quiet .
	@$(DEV)/ruff format .

lock: setup ## Compile the lock files anew from the requirements files
	@scripts/compile_locks.sh
