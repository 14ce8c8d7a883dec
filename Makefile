# `make demo` and `make test` set everything up by themselves, in .venv, and touch nothing outside this folder.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PROSE = $(shell git ls-files '*.md' '*.py' '*.html' '*.js')

.DEFAULT_GOAL := help
.PHONY: help install demo play criteria test test-slow test-lowest check format docs notebooks release clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## set up .venv with everything but the extras ray and vgg

# torch first and by itself: pip then keeps a build that already lies on this machine.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Ghostpad needs Python 3.11 or newer; name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[atari,formats,play,onnx,dev]"
	@touch $@

demo: $(INSTALLED)  ## record, train, label and evaluate real Breakout, in minutes (demo/report/report.html)
	$(BIN)/ghostpad demo

play: $(INSTALLED)  ## play the shipped world in the browser (http://127.0.0.1:8765)
	$(BIN)/ghostpad play --world breakout-world

criteria: $(INSTALLED)  ## train the specification's own model for hours and judge it (docs/reference.md); resumes
	$(BIN)/python benchmarks/criteria.py --write

test: $(INSTALLED)  ## run the tests, with coverage
	$(BIN)/pytest -m "not slow" --timeout 300 -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered

test-slow: $(INSTALLED)  ## run the tests that take minutes
	$(BIN)/pytest -m slow

test-lowest:  ## run the tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
	  -e ".[atari,formats,play,onnx,dev]"
	.venv-lowest/bin/pytest -m "not slow" --timeout 300 -n auto --maxprocesses 4 --dist loadfile

check: $(INSTALLED)  ## format, lint, types, spelling and style of the prose
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/codespell $(PROSE)
	$(BIN)/proselint check --config .proselintrc.json $(PROSE)

format: $(INSTALLED)  ## put the sources into the common format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.docs  ## build the documentation site into site/ (open site/index.html)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: .venv/.docs  ## write the notebooks of docs/notebooks as .ipynb files beside their sources
	$(BIN)/jupytext --to ipynb docs/notebooks/*.py

.venv/.docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

release: $(INSTALLED)  ## check the version, its section in the changelog and the tree, then build into dist/
	$(BIN)/python scripts/release.py

clean:  ## remove .venv, caches and the demo; recordings, checkpoints and data stay
	rm -rf .venv .venv-lowest demo build dist site .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
