.DEFAULT_GOAL := help
.PHONY: help quick matrix bench bench-short bench-quick count layers

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-13s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quick: ## Check the template and a few variants
	tox run -m quick

matrix: ## Check the template and every variant
	tox run -m matrix

bench: ## Compare a generated service with a hand-written one
	tox run -e bench

bench-short: ## The operations in 12 minutes
	tox run -e bench -- run --short --only operations --output benchmarks/results

bench-quick: ## Compare them in a few minutes, into build/benchmarks
	tox run -e bench -- run --quick

count: ## Count instructions and compare them with the baseline
	tox run -e count

layers: ## Count the instructions of each layer of middleware
	tox run -e count -- layers
