# `make` lists the commands. Options for run and setup: GPU=1, HOST=…, PORT=…, TORCH_INDEX=<url of another package index>.
PYTHON ?= python3
VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help run setup llama test bench bench-grpo image-test lock clean

help: ## list all commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

run: ## install what is missing and start the server
	@$(PYTHON) scripts/setup.py --run

setup: ## install what is missing
	@$(PYTHON) scripts/setup.py

llama: ## recompile llama.cpp for this processor and test it
	@$(PYTHON) scripts/setup.py --llama

test: ## install the test dependencies and run everything that CI runs
	@$(PYTHON) scripts/setup.py --test
	@$(VENV) scripts/check.py $(ARGS)

bench: setup ## measure startup, latency, page times and training overhead
	@$(VENV) scripts/bench.py $(ARGS)

bench-grpo: setup ## measure the parts of a GRPO step, with stock TRL and with the fast path
	@$(VENV) -P scripts/bench_grpo.py $(ARGS)

image-test: ## build and try the container image without a container engine (needs root, buildah, debootstrap)
	@$(VENV) scripts/image_test.py $(ARGS)

lock: ## pin the installed versions in requirements/*.txt
	@$(VENV) scripts/lock.py

clean: ## remove everything that setup and tests made; runs, exports, uploads, presets and downloaded models are kept
	rm -rf .venv .tools static/vendor cache/models/smollm2-135m-instruct cache/models/.smollm2* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './outputs/*' -prune -exec rm -rf {} +
