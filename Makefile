# The project's doors. `make` lists them.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help build demo serve test soak lint bench contract clean

CARGO ?= cargo
# One optimised profile, so that nothing is compiled twice.
RELEASE := --release --locked
XTASK := $(CARGO) run $(RELEASE) --quiet -p xtask --
DATA_DIR ?= /var/lib/atoll
LISTEN ?= 127.0.0.1:7070

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## build target/release/atoll
	$(CARGO) build $(RELEASE)

demo: ## install what is missing, build, run a program in a sandbox, clean up
	scripts/install-packages demo
	$(MAKE) --no-print-directory build
	scripts/demo

serve: build ## build, and serve from DATA_DIR on LISTEN until Ctrl-C
	target/release/atoll serve --data-dir $(DATA_DIR) --listen $(LISTEN)

test: ## install what the tests need and run them all
	scripts/install-packages test
	$(CARGO) build $(RELEASE)
	$(CARGO) test $(RELEASE)

# How long `make soak` goes on, in seconds. SEED=… replays a run.
SOAK_SECONDS ?= 14400

soak: ## kill every part at every step, in random order, for SOAK_SECONDS
	scripts/install-packages test
	SOAK_SECONDS=$(SOAK_SECONDS) $(CARGO) test $(RELEASE) -p tests --test crash -- --nocapture

lint: ## formatting, clippy, the tree's own rules, the written contract
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(RELEASE) --workspace --all-targets -- -D warnings
	$(XTASK) tidy
	$(XTASK) contract --check

contract: ## write contract/ and docs/ from the types in wire and the settings
	$(XTASK) contract
	$(CARGO) run $(RELEASE) --quiet -p cli -- configuration > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

bench: build ## measure, and write bench/results
	bench/run

clean: ## remove what was built
	$(CARGO) clean
