# The two commands are `make demo` and `make test`; each does all of its own set-up.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

uv := scripts/uv
run := $(uv) run --frozen --quiet
export PYTHONUNBUFFERED := 1

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.synced: uv.lock pyproject.toml $(wildcard */pyproject.toml */*/pyproject.toml)
	@$(uv) sync --frozen --quiet
	@touch $@

.PHONY: demo
demo: .venv/.synced ## Bring up a cluster if none is named, install, remember, recall, show the trace
	@$(run) python -m innervate_demo

.PHONY: demo-loop
demo-loop: .venv/.synced ## Serve a release, judge others, replace it, and come back by itself, live
	@$(run) python -m innervate_demo.loop

.PHONY: test
test: .venv/.synced ## Run every test, on an API server and a cluster of the tests' own
	@$(run) innervate-local build
	@$(run) pytest

.PHONY: verify
verify: .venv/.synced ## Format, lint, types, import rules, generated files
	@$(run) python scripts/verify.py

.PHONY: format
format: .venv/.synced ## Format and repair what can be repaired by itself
	@$(run) ruff format --quiet .
	@$(run) ruff check --fix .

.PHONY: generate
generate: .venv/.synced ## Write the generated files: protos' code, CRDs, RBAC, reference docs
	@scripts/protos
	@$(run) python -m innervate_kinds.crdgen

.PHONY: bench
bench: .venv/.synced ## Run the benchmarks, or one with NAME=operator
	@$(run) innervate-local build
	@$(run) python tests/bench/run.py $(NAME)

.PHONY: model
model: .venv/.synced ## Train the project's model again (minutes) and compare its quality with the committed one
	@$(run) python -m innervate_models train --into build/model --check

.PHONY: up
up: .venv/.synced ## Bring up the local cluster alone
	@$(run) innervate-local up

.PHONY: kubeconfig
kubeconfig: .venv/.synced ## Print the path of the local cluster's kubeconfig
	@$(run) innervate-local kubeconfig

.PHONY: down
down: .venv/.synced ## Remove the local clusters: processes, mounts, namespaces, rules
	@$(run) innervate-local down --all
