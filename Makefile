# `make env` once, then `make demo` or `make test`. PYTHON and VENV are options: make env PYTHON=python3.12 VENV=/tmp/env
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The key is the content of the files that decide the environment. A fresh checkout changes their times.
STAMP := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
RUN := runs/mnist-lenet

.PHONY: env demo test check lint types tests slow cover reference pictures wheel bench clean

env: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "imclass needs Python 3.11 or newer, and '$(PYTHON)' is older or missing. Name another: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,heic]'
	@rm -f $(VENV)/.ready-*
	@touch $@

demo: env
	$(BIN)/imclass train mnist-lenet --out $(RUN)
	$(BIN)/imclass evaluate $(RUN) --plot $(RUN)/confusion.png
	test -d runs/digits || $(BIN)/imclass data export mnist-sample --split test --most 12 --out runs/digits
	$(BIN)/imclass predict $(RUN) runs/digits
	$(BIN)/imclass features $(RUN) runs/digits/7 --layer features.0 --grid $(RUN)/maps.png

test:
	@start=$$(date +%s); $(MAKE) --no-print-directory env && echo "set-up: $$(($$(date +%s) - start)) s"
	@start=$$(date +%s); $(MAKE) --no-print-directory check && echo "checks: $$(($$(date +%s) - start)) s"

# Types are checked while the tests run, because these leave a core idle at times. The report on types comes last.
check: lint
	@mkdir -p .mypy_cache; \
	$(MAKE) --no-print-directory --jobs 2 --keep-going tests types TYPES_TO='> .mypy_cache/report'; code=$$?; \
	cat .mypy_cache/report; exit $$code

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env
	$(BIN)/mypy src tests $(wildcard benchmarks/*.py docs/*.py) $(TYPES_TO)

# One process for each core, each with one thread: threads of several processes on one core only wait for each other. Files
# run in the order of their names. Ordered by number of tests, the longest would come last, while the other processes wait.
tests: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

# Count the lines that the tests run. This makes them twice as slow, so `check` leaves it out.
cover: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder --cov --cov-report term

slow: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m slow

# docs/commands.md, from the texts in src/imclass/app/cli/arguments/.
reference: env
	$(BIN)/python -m imclass.app.cli.reference > docs/commands.md

wheel: env
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w dist .

bench: env
	@set -e; for claim in $(wildcard benchmarks/*.py); do echo "== $$claim"; $(BIN)/python "$$claim"; done

# The pictures of README.md and docs/, from the embedded digits.
pictures: env
	$(BIN)/python docs/pictures.py

clean:
	rm -rf build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
