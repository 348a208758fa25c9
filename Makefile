# A fresh clone needs python3.11 with pip and venv, and make. `make help` lists what there is.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test check format compile bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Start a whole exchange with a demo and print its address; Ctrl-C stops it
	@exec $(BIN)/python manage.py up

test: $(VENV)/.installed-dev ## Run all tests against throw-away servers; ARGS="-k word" narrows
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-dev ## Format, lint, types, import contracts, collected tests, missing migrations, deployment settings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@collected=$$($(BIN)/python -m pytest --collect-only -qq) || { echo "$$collected"; exit 1; }
	DB_POOL_MAX=0 PYTHONWARNINGS=ignore $(BIN)/python manage.py makemigrations --check --dry-run
	HTTPS=1 DEBUG=0 SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
		ALLOWED_ORIGINS=https://exchange.example $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(VENV)/.installed-dev ## Rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compile: $(VENV)/.installed-dev ## Compile the engine's hot path to C; needs a C compiler and Python's headers
	@$(BIN)/python manage.py compile

bench: $(VENV)/.installed-dev ## Measure, print one table and write bench.json; compiles first where it can
	@$(BIN)/python manage.py compile || echo "measured interpreted" >&2
	@$(BIN)/python manage.py bench $(ARGS)

clean: ## Forget caches and the demo's data; the environment stays
	rm -rf .data .compiled .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# An environment is made once, and installed into again only when a list has changed.
$(VENV)/bin/python:
	@command -v $(PYTHON) > /dev/null || { echo "$(PYTHON) is missing: install it, or set PYTHON" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	@echo "installing what the exchange runs on …"
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	@echo "installing what tests and checks need …"
	@$(PIP) --requirement requirements-dev.txt
	@touch $@ $(VENV)/.installed
