# `make help` says what there is.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
ARGS ?=

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

up: models  ## a private LLM on 127.0.0.1:8080; ARGS="--data DIR" and others pass through
	@exec .venv/bin/inhouse up $(ARGS)

install:  ## the product and its engine, into .venv
	@scripts/bootstrap
	@scripts/install runtime

models: install  ## the two models that come with Inhouse: fetched once, checked each time
	@.venv/bin/python scripts/models.py

dev: models
	@scripts/install dev

test: dev  ## all tests, with everything they need; ARGS="tests/fleet -x" for some
	@scripts/system-packages strace iproute2 libgomp1 nginx-light haproxy
	@.venv/bin/python -m pytest $(ARGS)

check: dev  ## format, lint and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy

fmt: dev  ## format, and mend what lint can mend
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: dev  ## Inhouse against its peers, on this machine; results in bench/results/
	@bench/run $(ARGS)

lock: install  ## pin the requirements anew, with hashes; ARGS=--upgrade for newer versions
	@.venv/bin/python -m pip install --quiet --require-hashes -r requirements/lock.txt
	@scripts/lock $(ARGS)

clean:  ## take away what was installed and made here
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.PHONY: help up install models dev test check fmt bench lock clean
