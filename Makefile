# run    sets everything up, then runs the main job: real source code to a promoted model
# test   sets everything up, then passes the tests
# check  format, lint, types, layers, spelling
# fix    what check can mend by itself
# bench  the measured comparisons
# clean  removes what runs have made; the environment stays

SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv/.peers

.PHONY: run test check fix bench clean

run: $(INSTALLED)
	@$(BIN)/starloom run

test: $(INSTALLED)
	@$(BIN)/python -m pytest

check: $(INSTALLED)
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/pyright

fix: $(INSTALLED)
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(PEERS)
	@$(BIN)/python -m benchmarks

clean:
	@test ! -x $(BIN)/starloom || $(BIN)/starloom down
	rm -rf artifacts reports .starloom dvc.lock .dvc/cache .dvc/tmp

# The environment is the lock, hash by hash. torch alone stands outside it: its CPU build has another name and hash
# than the one of the index. A wheel directory that pip knows is asked first, then PyTorch's own CPU index.
# To renew the lock:
#   uv pip compile --generate-hashes --no-emit-package torch --group dev pyproject.toml -o requirements.lock
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || {
	  echo "starloom needs Python 3.11 or 3.12, and $(PYTHON) is $$($(PYTHON) -V); install it or say: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv || {
	  echo "Python cannot make a virtual environment; on Debian or Ubuntu install python3-venv" >&2; exit 1; }
	echo "setting up the environment in .venv (a minute or two, once)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check uv==0.13.9
	wheels="$$($(BIN)/python -m pip config get global.find-links 2>/dev/null || true)"
	wheels="$${PIP_FIND_LINKS:-$$wheels}"
	if ls $$wheels/torch-2.13.0*.whl >/dev/null 2>&1; then
	  from=(--find-links "$$wheels"); else from=(--torch-backend cpu); fi
	uv=($(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode)
	"$${uv[@]}" --no-deps "$${from[@]}" torch==2.13.0
	"$${uv[@]}" --no-deps --require-hashes --requirements requirements.lock
	"$${uv[@]}" --no-deps --editable .
	touch $@

# The peers of the benchmarks, beside what requirements.lock holds and nothing of that changed. Daft asks for an older
# tqdm than DVC for its progress bars: that bound alone is overruled. To renew this lock:
#   uv pip compile --generate-hashes --group bench --constraint requirements.lock --override <(echo 'tqdm>=4.67') \
#     --custom-compile-command 'the command in the Makefile' -o benchmarks/requirements.lock
$(PEERS): $(INSTALLED) benchmarks/requirements.lock
	@echo "adding the peers of the benchmarks to .venv (once)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --require-hashes \
	  --requirements benchmarks/requirements.lock
	touch $@
