# Two commands are all a fresh machine needs (Python 3.11+, make, a package index):
#   make demo   the whole thing on embedded parts, no account, no container
#   make test   every test
# `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST_ARGS ?=
DEMO_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test check format generated pictures image lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## create .venv with everything; does nothing when nothing changed

$(STAMP): pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@# --inexact keeps uv itself in the environment it manages
	@$(BIN)/uv sync --quiet --locked --inexact
	@touch $@

demo: $(STAMP)  ## a day's load on embedded Redis and AWS, beside the alarm-only design
	@$(BIN)/ascension-scaler demo $(DEMO_ARGS)

test: $(STAMP)  ## all tests; PYTEST_ARGS='-k name' narrows them
	@$(BIN)/python -m pytest -n auto --dist loadgroup $(PYTEST_ARGS)

check: $(STAMP)  ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)  ## let ruff fix what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generated: $(STAMP)  ## write again what is generated from code: schema, reference pages
	@$(BIN)/python -m scaler.config.reference
	@$(BIN)/python -m metrics.catalog > docs/reference/metrics.md
	@$(BIN)/python tests/policies/test_policies_reference.py
	@$(BIN)/python -m scaler.cli.reference > docs/reference/cli.md

pictures: $(STAMP)  ## draw the documentation's pictures again, from a full demo and a virtual hour
	@$(BIN)/ascension-scaler demo --plain --plot docs/images/demo.svg
	@$(BIN)/python docs/images/how_it_decides.py

ENGINE ?= $(or $(shell command -v docker),podman)
image:  ## build the container image, print its size; ENGINE=podman BASE_IMAGE=… IMAGE_BUILD_ARGS=…
	@# podman drops the health check from images of any format but docker's
	@BUILDAH_FORMAT=docker $(ENGINE) build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) $(IMAGE_BUILD_ARGS) --tag ascension-scaler -f Dockerfile .
	@$(ENGINE) save ascension-scaler | gzip | wc -c | awk '{printf "ascension-scaler: %.0f MB compressed\n", $$1 / 1e6}'

lock: $(STAMP)  ## refresh uv.lock
	@$(BIN)/uv lock --upgrade

clean:  ## remove the environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
