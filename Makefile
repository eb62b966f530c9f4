# Everything there is to do with this repository. `make` alone prints the targets.

SETUP     := internal/tools/setup.sh
PKG       ?= ./...
# The race detector needs minutes where the tests need seconds, on two cores even more.
TIMEOUT   ?= 20m

.DEFAULT_GOAL := help
.PHONY: help demo run test lint bench simulate generate setup build

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## See the whole product do its job, with nothing to install; ARGS=--once ends by itself
	@bin/rollwatch demo $(ARGS)

run: build ## Run the daemon; ARGS=--config.file=rollwatch.yml
	@bin/rollwatch serve $(ARGS)

test: setup ## Install what is missing and run every test on real servers; PKG=./alerts/... narrows it
	go test -race -parallel=6 -timeout=$(TIMEOUT) $(PKG)

lint: ## Check format, code, modules and rule files
	@$(SETUP) tools golangci-lint prometheus
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "not formatted (run gofmt -w):"; echo "$$unformatted"; exit 1; }
	go vet ./...
	$$($(SETUP) path golangci-lint)/golangci-lint run
	go mod tidy -diff
	@for tool in internal/tools/*/go.mod; do (set -x; go -C $$(dirname $$tool) mod tidy -diff) || exit 1; done
	@for rules in $(wildcard alerts/*.rules.yml); do $$($(SETUP) path prometheus)/promtool check rules $$rules || exit 1; done

bench: ## Run the benchmarks; PKG=./alerts/... narrows it
	go test -run='^$$' -bench=. -benchmem $(PKG)

simulate: build ## Make docs/verdict-quality.md again (three quarters of an hour on two cores); RUNS=5 takes 5 % of the runs
	@bin/rollwatch simulate --seeds=published --out=docs --runs=$(or $(RUNS),100)

generate: ## Make again what is made from the code: rule files, dashboards, docs
	go generate ./...

setup: ## Install what the tests need (by apt and npm) and build the pinned tools, if not there
	@$(SETUP) servers
	@$(SETUP) node
	@$(SETUP) tools prometheus alertmanager

build:
	@go build -o bin/rollwatch ./cmd/rollwatch
