# `make help` says what there is.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
ARGS ?=
HERE := $(shell unset CDPATH; cd -P "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd -P)
PYTHON := "$(HERE)/.venv/bin/python" -P
IN := cd "$(HERE)" &&

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' "$(HERE)/Makefile"

up: models  ## a private LLM on 127.0.0.1:8080; ARGS="--data DIR" and others pass through
	@exec $(PYTHON) -m inhouse up $(ARGS)

install:  ## the product and its engine, into .venv
	@$(IN) scripts/bootstrap
	@$(IN) scripts/install runtime

models: install  ## the two models that come with Inhouse: fetched once, checked each time
	@$(IN) .venv/bin/python scripts/models.py

dev: models
	@$(IN) scripts/install dev

test: dev  ## all tests, with everything they need; ARGS="tests/fleet -x" for some
	@$(IN) scripts/system-packages strace iproute2 libgomp1 nginx-light haproxy slowhttptest \
		postgresql chromium apache2 libapache2-mod-auth-openidc
	@$(IN) scripts/node-packages tests/identity/idp .cache/idp || [ $$? = 3 ]
	@$(IN) .venv/bin/python -m pytest $(ARGS)

check: dev  ## format, lint and types
	@$(IN) .venv/bin/python -m ruff format --check .
	@$(IN) .venv/bin/python -m ruff check .
	@$(IN) .venv/bin/python -m mypy

fmt: dev  ## format, and mend what lint can mend
	@$(IN) .venv/bin/python -m ruff format .
	@$(IN) .venv/bin/python -m ruff check --fix .

bench: dev  ## Inhouse against its peers, on this machine; results in bench/results/
	@$(IN) bench/run $(ARGS)

bench-identity: dev  ## what a key, a token and a decision cost, beside what they may
	@$(IN) .venv/bin/python -m bench.identity

lock: install  ## pin the requirements anew, with hashes; ARGS=--upgrade for newer versions
	@$(IN) .venv/bin/python -m pip install --quiet --require-hashes -r requirements/lock.txt
	@$(IN) scripts/lock $(ARGS)

clean:  ## take away what was installed and made here
	@$(IN) rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

.PHONY: help up install models dev test check fmt bench bench-identity lock clean
