# Rust, Go and make are all that is needed. `make` alone lists the targets.
BIN := $(or $(CARGO_TARGET_DIR),target)/debug
CRD := crds/pleo.io_pleoconnections.yaml
.DEFAULT_GOAL := help
.PHONY: help build demo test check crds testbed cluster sandbox fmt clean lint docs drift dependencies tools

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

# One build for all, with the same features: to select packages one by one would compile most of them again.
build: ## Builds the operator, and the helpers for tests
	cargo build --workspace --bins --examples

demo: build ## Shows the operator at work, in under a minute; with KEEP=1 it stays until Ctrl-C
	@KEEP='$(KEEP)' $(BIN)/examples/demo

test: testbed ## Runs all tests
	cargo test --workspace

check: lint docs drift dependencies ## Checks format, lints, docs, the CRD file, unused dependencies and licences

crds: build ## Writes the CRD file, from what the program prints
	$(BIN)/pleo-operator crd > $(CRD)

testbed: build ## Builds the API server for demo and tests; takes some minutes, once
	$(BIN)/pleo-testbed build

cluster: build ## Runs an API server in the foreground, and prints its KUBECONFIG
	@$(BIN)/pleo-testbed cluster

sandbox: build ## Runs a fake of Pleo's authorisation server; ARGS=--help lists what it can do
	@$(BIN)/pleo-sandbox $(ARGS)

fmt: ## Formats the code
	cargo fmt --all

clean: ## Removes all that was built
	cargo clean

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

drift: build
	$(BIN)/pleo-operator crd | diff -u $(CRD) - || { echo '$(CRD) is not what the program prints: run `make crds`'; exit 1; }

dependencies: tools
	cargo machete
	cargo deny check licenses bans sources

# Built without optimisation, which takes half the time.
tools:
	@cargo machete --version >/dev/null 2>&1 || cargo install --locked --debug cargo-machete@0.9.2
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug cargo-deny@0.20.2
