SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run invoke test simulate faults fuzz mutants bench build cli fmt lint deploy clean prerequisites

# make run ONCE=1 ends after the report; IMAGE=oci:DIR or a registry reference takes the sample's place; PORT= is the
# emulator's port. ADVISORIES= is a directory in the layout of OSV's bulk files, an address of such files, or osv for OSV's
# own, which are read over the network only then. make test STRICT=1 fails when something could not run. make fuzz TARGET= takes names from
# tests/fuzz/seeds, SECONDS_EACH= is how long each is tried. make faults
# PUSHES= is how many images are pushed, SEED= which calls fail. make mutants FILE= takes one source file
# instead of the list of .cargo/mutants.toml. make bench ONLY='scan push' takes names of sets from tests/bench/README.md.
ONCE ?=
IMAGE ?=
PORT ?=
ADVISORIES ?=
STRICT ?=
TARGET ?=
SECONDS_EACH ?= 60
PUSHES ?= 1000
SEED ?=
ONLY ?=
FILE ?=
FUNCTION ?= receiver
EVENT ?= events/ecr_push_tagged.json

# make simulate SEED=1 EVENTS=1000 TENANTS=10 runs that very run again; WATCH=sha256:… shows every step of one thing.
EVENTS ?=
TENANTS ?=
WATCH ?=

OUTPUT := $(or $(CARGO_TARGET_DIR),target)
PYTHON := .venv/bin/python
FUNCTIONS := receiver verifier scanner reconciler publisher advisor rematcher notifier console

help: ## Says what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: prerequisites .venv ## Starts the local cloud, connects two accounts, pushes an image and shows its report
	@cargo build --workspace --bins
	@exec $(OUTPUT)/debug/portwarden local $(if $(ONCE),--once) $(if $(IMAGE),--image '$(IMAGE)') $(if $(PORT),--port '$(PORT)') $(if $(ADVISORIES),--advisories '$(ADVISORIES)')

invoke: prerequisites .venv ## Invokes FUNCTION=receiver with EVENT=events/….json under AWS's runtime interface emulator
	@cargo build --quiet --workspace --bins
	@exec $(OUTPUT)/debug/portwarden local --invoke '$(FUNCTION)' --event '$(EVENT)'

test: prerequisites .venv ## Checks everything; names what this machine cannot run (a failure with STRICT=1)
	@STRICT='$(STRICT)' .ci/test

simulate: prerequisites ## Runs the functions in a simulated world of faults, from a seed, and checks every invariant at every step
	@cargo build --workspace --bins
	@exec $(OUTPUT)/debug/simulate $(if $(SEED),--seed '$(SEED)') $(if $(EVENTS),--events '$(EVENTS)') $(if $(TENANTS),--tenants '$(TENANTS)') $(if $(WATCH),--watch '$(WATCH)')

fuzz: prerequisites ## Feeds hostile bytes to every parser of outside input, a minute each
	@SECONDS_EACH='$(SECONDS_EACH)' tests/fuzz/run $(TARGET)

faults: prerequisites .venv ## Pushes PUSHES images while calls to AWS fail by chance; SEED= repeats the faults of a run
	@cargo build --workspace --bins
	@PUSHES='$(PUSHES)' SEED='$(SEED)' cargo test --workspace --test end_to_end faults::every_push -- --nocapture

mutants: prerequisites ## Changes the rules about who is trusted one by one, and lists each change that no test notices
	@for tool in cargo-mutants cargo-nextest; do \
	  command -v "$$tool" >/dev/null || { echo "make: $$tool is missing. Fix: cargo install --locked $$tool" >&2; exit 1; }; \
	done
	@mkdir -p $(OUTPUT)
	@cargo mutants --output $(OUTPUT) $(if $(FILE),--no-config --profile mutants --test-tool nextest --minimum-test-timeout 120 --file '$(FILE)')

bench: prerequisites .venv ## Measures everything and prints tables; ONLY= names sets, such as scan
	@cargo build --release --workspace --bin portwarden --bin bench --bin bare $(FUNCTIONS:%=--bin portwarden-%)
	@exec $(OUTPUT)/release/bench $(ONLY)

build: prerequisites ## Builds the functions for AWS, as sam deploy takes them
	@command -v sam >/dev/null || { echo 'make: sam is missing. Fix: pip install aws-sam-cli cargo-lambda ziglang' >&2; exit 1; }
	@sam build

cli: prerequisites ## Builds the command line to target/release/portwarden
	@cargo build --release --package portwarden-cli --target-dir target

fmt: ## Formats the code
	@cargo fmt

lint: ## Runs clippy with warnings as errors, on everything
	@cargo clippy --workspace --all-targets -- --deny warnings

deploy: build ## Deploys to the AWS account of the ambient credentials, asking what it needs to know
	@sam deploy --guided

clean: ## Removes everything that was built or installed here
	@rm -rf .venv .aws-sam target

prerequisites:
	@command -v cargo >/dev/null || { echo 'make: cargo is missing. Fix: install Rust with rustup, then open a new shell' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'make: the C compiler cc is missing. Fix: install gcc (Debian: apt-get install gcc libc6-dev)' >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo 'make: python3 is missing or older than 3.10. Fix: install Python 3.10 or newer' >&2; exit 1; }

# The environment is made elsewhere and moved here when it is whole; .made holds what it was made from, so that a
# half-made or outdated one is made again.
.PHONY: .venv
.venv:
	@wanted="$$(cat tests/requirements.txt tests/requirements-runtime.txt; python3 --version)"; \
	if [ "$$(cat .venv/.made 2>/dev/null)" != "$$wanted" ] || ! $(PYTHON) -c 'import ministack' 2>/dev/null; then \
	  echo 'make: setting up .venv (the AWS emulators and the template checks), once' >&2; \
	  rm -rf .venv; \
	  python3 -m venv .venv || { rm -rf .venv; echo 'make: python3 cannot make a virtual environment. Fix: install its venv module (Debian: apt-get install python3-venv)' >&2; exit 1; }; \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt || { rm -rf .venv; echo 'make: the packages of tests/requirements.txt cannot be installed. Fix: check the network and run the same command again' >&2; exit 1; }; \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --target .venv/runtime --requirement tests/requirements-runtime.txt || { rm -rf .venv; echo 'make: the package of tests/requirements-runtime.txt cannot be installed. Fix: check the network and run the same command again' >&2; exit 1; }; \
	  chmod +x .venv/runtime/samcli/local/rapid/aws-lambda-rie-*; \
	  printf '%s' "$$wanted" > .venv/.made; \
	fi
