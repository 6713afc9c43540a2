# make demo    the shop, the sandbox vendor and the delivery worker; needs Python >= 3.11 and nothing else
# make test    all tests, then those in a django-oscar shop; some of the former: make test ARGS="-k cart"
# make lint    style and types
# make clean   remove what the above made; `.env` stays

PYTHON ?= python3
PORT ?= 8000
SANDBOX_PORT ?= 8001
ARGS ?=

VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin/python

.PHONY: help demo test lint clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(STAMP) .env
	@exec $(RUN) -m shop_demo.demo --port $(PORT) --sandbox-port $(SANDBOX_PORT)

test: $(STAMP) .env
	@$(RUN) -m pytest -n 2 $(ARGS)
	@[ -n "$(ARGS)" ] || exec $(RUN) -m pytest -n 2 --ds tests.oscar.settings tests/oscar

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than requirements.txt once everything in it is installed.
$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "This needs Python 3.11 or newer, and $(PYTHON) is not: $$($(PYTHON) --version 2>&1)"; \
		echo "Name a newer one: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12"; \
		exit 1; }
	@echo "Installing requirements.txt into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(STAMP)

# Order-only: an `.env` of yours is never overwritten, however old.
.env: | $(STAMP)
	@$(RUN) -m shop_demo.env_file
