# Two commands for a newcomer: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One more than two processors: tests wait for the disk and for processes that end.
JOBS ?= 3
# More options of pytest, as in `make test PYTEST=-x`.
PYTEST ?=

# Strict editable: mypy and the import contracts see the packages as they are installed.
# pip would compile on one processor, tests of the libraries too.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# With PYTHONDONTWRITEBYTECODE, every process of the tests would compile what it imports once more.
# Errors do not matter: nothing imports a file that does not compile.
COMPILE := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q -j 0
UNUSED := /tests?/|/transformers/models/(?!auto|bloom|llama)|/(debugpy|pip|plotly)/

.PHONY: venv demo docs test test-all coverage lint lint-format lint-types lint-layers format clean

venv: $(VENV)/.installed

# Reinstalled when a module is added or removed: the strict editable install links each file.
$(VENV)/.installed: pyproject.toml constraints.txt $(shell find api cli stages -type d)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --config-settings editable_mode=strict -e '.[llm,ray,onnx,mlflow,docs,test,lint]'
	$(COMPILE) -x '$(UNUSED)' $(VENV)/lib build/__editable__* > /dev/null || true
	touch $@

demo: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/demo.sh

# The documentation site, in build/site. Needs no network.
docs: venv
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open build/site/index.html"

test: venv
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow' $(PYTEST)

test-all: venv
	UNLEARN_TESTS_MANY_EXAMPLES=1 $(BIN)/python -m pytest -n $(JOBS)

# Lines and branches that all tests run, in processes of their own too. Measuring takes 40 % longer.
coverage: venv
	UNLEARN_TESTS_MANY_EXAMPLES=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=
	$(BIN)/coverage report

lint: lint-format lint-types lint-layers

lint-format: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The second reads what the first has found out.
lint-types: venv
	$(BIN)/mypy -p unlearn
	$(BIN)/mypy tests benchmarks website

lint-layers: venv
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
