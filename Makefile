# make demo | test | lint | docs | bench | clean        (PYTHON=python3.11 picks the interpreter)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
TYPED := tests/nn $(addprefix tests/,$(addsuffix .py,models/test_heads models/test_objectives models/test_pretraining models/test_predictor pairs/test_relations))
BENCHMARKS := pretraining_step attention featurize large_molecules loader precision

.PHONY: demo test lint docs bench clean

demo: $(VENV)/demo.installed  ## featurize, pretrain, fine-tune and predict on real molecules; a few minutes
	$(BIN)/python examples/demo.py --out demo

test: lint  ## lint, types, import contracts, doctests and tests; the model's once more with every call type-checked
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --jaxtyping-packages=dgl_moleblend,typecheck.check $(TYPED)

lint: $(VENV)/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(VENV)/dev.installed  ## reference and guides into build/docs; a broken link is an error
	$(BIN)/python .ci/docs.py

bench: $(VENV)/dev.installed  ## the short form of every benchmark
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --short || exit 1; done

$(VENV)/%.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache
