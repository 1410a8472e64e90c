# One line each; `make` alone lists them. Tests and the binary they start and kill share one profile, `ci`.
CI := --profile ci --workspace

.PHONY: help run build test interop fuzz sim conformance torture check lint format bench docs reference dist clean

help: ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## the demo: three simulated accounts that answer, fall over and come back
	cargo run --release -p moorline -- demo

build: ## the binary, quick to build, in target/release
	cargo build --release -p moorline

test: ## every test; builds what it needs
	cargo build $(CI) --bins --quiet
	cargo test $(CI) --lib --bins --tests

interop: ## the official Feishu SDKs against our simulator; needs Node and Python
	tests/interop/install
	cargo build $(CI) --bins --quiet
	cargo test --profile ci -p moorline-tests --test interop --quiet

fuzz: ## the API against its own document, docs/openapi.json; needs Python; make fuzz SEED=6
	tests/api/install
	cargo build $(CI) --bins --quiet
	tests/api/run $(if $(SEED),--seed $(SEED))

sim: ## one fault schedule again, or many: make sim SEED=0x…, make sim SEEDS=5000
	MOORLINE_SIM_SEED=$(SEED) MOORLINE_SIM_SEEDS=$(SEEDS) cargo test --profile ci -p moorline-tests --test sim --quiet

conformance: ## every channel through every scenario: make conformance ONLY="feishu half-open"
	cargo build $(CI) --bins --quiet
	MOORLINE_CONFORMANCE="$(ONLY)" cargo test --profile ci -p moorline-tests --test conformance --quiet

torture: ## the long runs
	MOORLINE_SIM_SEEDS=20000 cargo test --profile ci -p moorline-tests --test sim --quiet
	cargo build $(CI) --bins --quiet
	cargo test --profile ci -p moorline-tests --test torture

check: lint ## format and lints
	cargo fmt --all --check

lint: ## clippy, warnings are errors
	cargo clippy $(CI) --all-targets -- -D warnings
	cargo clippy --profile ci -p moorline-tests --test interop -- -D warnings

format: ## rustfmt
	cargo fmt --all

bench: ## measures, with the machine's load beside each figure
	cargo build --release -p moorline
	cargo bench -p moorline-tests --bench bench

docs: ## the API documentation of every crate
	cargo doc --workspace --no-deps

reference: ## config/reference.toml and docs/openapi.json, from the code
	cargo run --profile ci --quiet -p moorline -- check --reference > target/reference.toml
	mv target/reference.toml config/reference.toml
	cargo run --profile ci --quiet -p moorline -- check --openapi > target/openapi.json
	mv target/openapi.json docs/openapi.json

dist: ## the binary as it is shipped, in target/dist
	cargo build --profile dist -p moorline

clean: ## everything that was built
	cargo clean
