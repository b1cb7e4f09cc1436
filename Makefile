.DEFAULT_GOAL := help
.PHONY: help setup run dev test check format proto lock faults bench promises clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SOURCES := app tasks clients status tests bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Set up once per lock file: the exact versions first, then this project without looking for anything else.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Agent Runner needs Python 3.11 or later; this is " + sys.version)'
	@echo "setting up .venv from requirements.lock (once; a minute or two) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

setup: $(READY) ## set up .venv from the lock file (every target does this first)
