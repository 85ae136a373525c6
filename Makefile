# make demo | test | soak | bench | check | setup | clean     (see CONTRIBUTING.md)

DATA ?= demo-data
DEMO_SECONDS ?=
BENCH ?= ingest growth
# Further arguments for pytest, e.g. make test ARGS="-k outbox"
ARGS ?=

BIN := .venv/bin

.PHONY: demo test soak bench check setup clean

demo:
	@scripts/setup
	@exec $(BIN)/terang demo --data "$(DATA)" $(if $(DEMO_SECONDS),--seconds "$(DEMO_SECONDS)")

test:
	@scripts/setup dev machine
	@$(BIN)/python scripts/run_tests.py $(ARGS)

soak:
	@scripts/setup dev machine
	@TERANG_SOAK=1 $(BIN)/python scripts/run_tests.py $(ARGS)

bench:
	@scripts/setup dev machine
	@set -e; for name in $(BENCH); do $(BIN)/terang bench $$name; done

check:
	@scripts/setup dev
	@$(BIN)/python scripts/run_tests.py --only-check

setup:
	@scripts/setup dev machine

# Everything that set-up and tests made; never the data of a demo.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/terang/web/static
	find src tests scripts -name __pycache__ -prune -exec rm -rf {} +
