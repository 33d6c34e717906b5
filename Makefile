# Rust, Go and make are all that is needed. `make` alone lists the targets.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := $(TARGET)/debug
CRD := crds/pleo.io_pleoconnections.yaml
MUTANTS := 27.1.0
MDBOOK := 0.5.4
FUZZ := 0.13.2
.DEFAULT_GOAL := help
.PHONY: help build demo test simulate consents model mistakes mutants fuzz e2e bench bench-proxy browser check chart consumers crds manifests image plugin testbed nodes cluster sandbox site fmt clean lint docs drift dependencies tools

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# One build for all, with the same features: to select packages one by one would compile most of them again.
build: ## Builds the operator, and the helpers for tests
	cargo build --workspace --bins --examples

demo: build ## Shows the operator at work, in under a minute; with KEEP=1 it stays until Ctrl-C
	@KEEP='$(KEEP)' $(BIN)/examples/demo

test: testbed ## Runs all tests
	cargo test --workspace

simulate: ## Plays stories made from seeds: SEEDS=10000 FROM=0, or SEED=7 for one that is told in full
	SEEDS='$(or $(SEEDS),1000)' FROM='$(FROM)' SEED='$(SEED)' cargo test --profile simulate --test simulation seeds::every_seed -- --nocapture

consents: ## Lets people consent by link while replicas die: VISITS=1000
	VISITS='$(or $(VISITS),1000)' cargo test --profile simulate --test simulation links::visits::consents -- --nocapture

model: ## Checks the model of the protocol to a greater depth than the tests do
	PLEO_MODEL=deep cargo test --profile simulate --test model -- --nocapture

mistakes: ## Puts known mistakes back, one at a time: each must be found; ONLY=cached tries one
	tests/mistakes/run $(ONLY)

mutants: ## Changes the rules and the rotation in every small way: a test must notice each; takes an hour or two
	@cargo mutants --version >/dev/null 2>&1 || cargo install --locked --debug cargo-mutants@$(MUTANTS)
	cargo mutants --output $(TARGET)/mutants --jobs 2 $(ARGS)

# No sanitizer: there is no unsafe code to look into, and without one a stable compiler is enough. Needs a C++ compiler.
FUZZED := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
fuzz: ## Lets a fuzzer look for input that breaks a rule: FOR=60 seconds for each target, or only for ONLY=answer
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --debug cargo-fuzz@$(FUZZ)
	cargo fuzz build --sanitizer none
	@for target in $(or $(ONLY),$(FUZZED)); do \
	    echo "--- $$target"; mkdir -p fuzz/corpus/$$target; \
	    cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target tests/corpus/seeds/$$target -- \
	        -max_total_time=$(or $(FOR),60) -timeout=5 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

check: lint docs drift dependencies chart ## Checks format, lints, docs, generated files, dependencies, licenses and the chart

crds: build ## Writes the CRD file, from what the program prints
	$(BIN)/pleo-operator crd > $(CRD)

testbed: build ## Builds the API server for demo and tests; takes some minutes, once
	$(BIN)/pleo-testbed build

nodes: build ## Builds what nodes need, and helm; takes some minutes, once
	$(BIN)/pleo-testbed build --nodes

# The program as it goes into an image: static, so that the image needs nothing else.
STATIC := $(shell uname -m)-unknown-linux-gnu

e2e: nodes ## Installs the operator on real nodes, and shows that pods follow; needs root and Debian
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target $(STATIC) --bin pleo-operator
	cd tests/e2e/consumer && CGO_ENABLED=0 go build -trimpath -o $(TARGET)/e2e/consumer .
	@PLEO_OPERATOR=$(TARGET)/$(STATIC)/release/pleo-operator PLEO_CONSUMER=$(TARGET)/e2e/consumer KEEP='$(KEEP)' $(BIN)/examples/e2e

bench: testbed ## Measures many connections on a real API server: N=2000; ONLY=fleet, hanging, refusing or drain
	cargo build --release --locked --bin pleo-operator
	@PLEO_OPERATOR=$(TARGET)/release/pleo-operator N='$(N)' ONLY='$(ONLY)' cargo run --profile simulate --example bench-fleet

bench-proxy: ## Compares the proxy with nginx: latency, CPU, memory; needs nginx (Debian: nginx-light)
	cargo build --release --locked --bin pleo-operator
	PLEO_OPERATOR=$(TARGET)/release/pleo-operator cargo run --profile simulate --example bench-proxy

consumers: build ## Runs the examples for consumers, in four languages, and the health script for Argo CD
	tests/consumers/run
	tests/consumers/argocd

chart: nodes ## Checks the chart: lints, schemas, alerts, what renders and what must not, the admission policies
	@tests/chart/check

manifests: nodes ## Writes what is made from the chart and the CRD: plain manifests, the chart's README
	@tests/chart/generate .

# By docker, podman or buildah, whichever works here. ARGS=--build-arg=BASE_IMAGE=… and so on for other base images.
IMAGE := pleo-operator:0.1.0
image: ## Builds the container image; IMAGE=registry.example.com/pleo-operator:0.1.0 names it
	@for builder in docker podman buildah; do $$builder info >/dev/null 2>&1 && \
	    exec $$builder build --tag '$(IMAGE)' --build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)" \
	        --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null)" --build-arg CREATED="$$(date -u +%FT%TZ)" $(ARGS) .; \
	done; echo 'no builder of images works here: install docker, podman or buildah, or start it' >&2; exit 1

browser: testbed ## Consents in a real browser, and takes pictures of every page; needs chromium and chromedriver
	cargo test --test browser

# For one platform: this machine's. URL= says where the archive will be.
PLUGIN = $(TARGET)/plugin
VERSION = $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
ARCH = $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
ARCHIVE = kubectl-pleo-v$(VERSION)-linux-$(ARCH).tar.gz
plugin: ## Packs kubectl pleo with a manifest for krew; URL=https://… where the archive will be
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target $(STATIC) --bin kubectl-pleo
	@mkdir -p $(PLUGIN)
	@tar -czf $(PLUGIN)/$(ARCHIVE) -C $(TARGET)/$(STATIC)/release kubectl-pleo -C $(CURDIR) LICENSE
	@sed -e 's|@VERSION@|$(VERSION)|' -e 's|@ARCH@|$(ARCH)|' -e 's|@URL@|$(or $(URL),https://example.com/$(ARCHIVE))|' \
	    -e "s|@SHA256@|$$(sha256sum $(PLUGIN)/$(ARCHIVE) | cut -d' ' -f1)|" -e '/^# /d' examples/krew.yaml.in > $(PLUGIN)/pleo.yaml
	@echo 'kubectl krew install --manifest=$(PLUGIN)/pleo.yaml --archive=$(PLUGIN)/$(ARCHIVE)'

cluster: build ## Runs an API server in the foreground, and prints its KUBECONFIG
	@$(BIN)/pleo-testbed cluster

sandbox: build ## Runs a fake of Pleo's authorization server; ARGS=--help lists what it can do
	@$(BIN)/pleo-sandbox $(ARGS)

site: ## Builds the pages as a site, in target/site/html, and checks every link; needs python3
	@mdbook --version >/dev/null 2>&1 || cargo install --locked --debug --no-default-features --features search mdbook@$(MDBOOK)
	docs/site/build $(TARGET)/site

fmt: ## Formats the code
	cargo fmt --all

clean: ## Removes all that was built
	cargo clean

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@for mistake in tests/mistakes/*.patch; do git apply --check $$mistake || exit 1; done

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

drift: build
	$(BIN)/pleo-operator crd | diff -u $(CRD) - || { echo '$(CRD) is not what the program prints: run `make crds`'; exit 1; }

dependencies: tools
	cargo machete
	cargo deny check licenses bans sources

# Built without optimization, which takes half the time.
tools:
	@cargo machete --version >/dev/null 2>&1 || cargo install --locked --debug cargo-machete@0.9.2
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug cargo-deny@0.20.2
