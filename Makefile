# `make help` says what there is.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

up: models  ## a private LLM on 127.0.0.1:8080; ARGS="--data DIR" and others pass through
	@exec .venv/bin/inhouse up $(ARGS)

install:
	@scripts/bootstrap
	@scripts/install runtime

models: install  ## the two models that come with Inhouse, installed once
	@[ -f .venv/share/inhouse/models/manifest.json ] || $(PYTHON) scripts/models.py

dev: models
	@scripts/install dev

test: dev  ## all tests, with everything they need
	@scripts/system-packages strace iproute2
	@$(PYTHON) -m pytest $(ARGS)

check: dev  ## format, lint and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy

fmt: dev  ## format, and mend what lint can mend
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: dev  ## Inhouse against its peers, on this machine; results in bench/results/
	@bench/run $(ARGS)

lock: dev  ## pin the requirements anew, with hashes
	@.venv/bin/pip install --quiet uv
	@scripts/lock

clean:  ## take away what was installed and made here
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.PHONY: help up install models dev test check fmt bench lock clean
