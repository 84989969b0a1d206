PYTHON ?= python3
BIN := .venv/bin
# models that others have trained; without them, the tests of their known answers are skipped
LID := .venv/models/lid.176.ftz
PUNKT := .venv/models/punkt_tab.zip

# a few thousand pages are too few for the sizes of the recipe llama1
SMALL := --set models.lm.opening=false --set models.wikiref.epoch=50 --set models.wikiref.lr=0.5 --set tokens.tokenizer.train.vocabulary=8000 --set engine.shard_bytes=1e6

.PHONY: demo test check format clean

demo: .venv/installed  ## the main job on the built-in sample
	$(BIN)/curate sample sample
	$(BIN)/curate run quickstart --set data=sample --out runs/quickstart
	$(BIN)/curate verify runs/quickstart
	$(BIN)/curate run llama1 --set data=sample --set models.lid.path=sample/models/lid.176.ftz $(SMALL) --out runs/llama1
	$(BIN)/curate verify runs/llama1
	$(BIN)/curate stats runs/llama1 --faithful

test: .venv/developed check  ## everything that CI runs
	-test -f $(LID) || $(BIN)/python -c "from pathlib import Path; from curate import known; known.fetch(known.LID, Path('$(LID)').parent)"
	-test -f $(PUNKT) || $(BIN)/python -c "from pathlib import Path; from curate import known; known.fetch(known.PUNKT, Path('$(PUNKT)').parent)"
	CURATE_LID=$(LID) CURATE_PUNKT=$(PUNKT) $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

check: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/developed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/curate stages --markdown > docs/stages.md
	$(BIN)/curate stages --assumptions > docs/assumptions.md

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/developed: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv sample runs build *.egg-info
