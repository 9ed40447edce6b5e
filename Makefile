# `make` lists what there is. Options for run and setup: GPU=1, HOST=…, PORT=…, TORCH_INDEX=<url of one more package index>.
PYTHON ?= python3
VENV := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help run setup llama test bench bench-grpo image-test lock clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1|\2/' | column -t -s '|'

run: ## set up what is missing, start the server and print its address
	@$(PYTHON) scripts/setup.py --run

setup: ## set up what is missing
	@$(PYTHON) scripts/setup.py

llama: ## compile llama.cpp again for this processor, and test it
	@$(PYTHON) scripts/setup.py --llama

test: ## set up what the tests need and run all that CI runs
	@$(PYTHON) scripts/setup.py --test
	@$(VENV) scripts/check.py $(ARGS)

bench: setup ## measure start, latency, page times and training overhead
	@$(VENV) scripts/bench.py $(ARGS)

bench-grpo: setup ## measure a GRPO step by part, stock TRL and the fast path in turn
	@$(VENV) -P scripts/bench_grpo.py $(ARGS)

image-test: ## build the container image without a container engine and try it (needs root, buildah, debootstrap)
	@$(VENV) scripts/image_test.py $(ARGS)

lock: ## write requirements/*.txt from requirements/*.in and what is installed
	@$(VENV) scripts/lock.py

clean: ## remove what set-up and tests made; your runs, files, configurations and downloaded models stay
	rm -rf .venv .tools static/vendor cache/models/smollm2-135m-instruct cache/models/.smollm2* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './outputs/*' -prune -exec rm -rf {} +
