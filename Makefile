# Each target sets up what it needs. PYTHON picks the interpreter (3.11 or later).
PYTHON ?= python3
VENV := .venv
DEVICE := .venv-device
BIN := $(VENV)/bin
PIP := install --quiet --disable-pip-version-check

.PHONY: demo test test-device check bench clean

demo: $(VENV)/ready  ## The main job, end to end, on real photographs
	@rm -rf demo
	@$(BIN)/python -m tests.readme

test: $(VENV)/ready $(DEVICE)/ready  ## All tests: the workstation's, then the device half alone
	@echo "== workstation: torch, ONNX Runtime, LiteRT"
	@$(BIN)/python -m pytest
	@echo "== device: tflite-runtime and numpy 1 alone, no torch"
	@$(DEVICE)/bin/python -m pytest tests/edge edge

check: $(VENV)/ready  ## Format, lint, strict types, doctests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest edge export

bench: $(VENV)/ready  ## Speed and memory against the bare runtime, as ratios within one run
	@$(BIN)/python -m benchmarks.job

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(DEVICE) demo build dist

$(VENV)/ready: pyproject.toml
	@echo "setting up the workstation in $(VENV): torch, torchvision, ONNX, LiteRT (about 2.5 GB, 3 minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip $(PIP) torch==2.13.0
	@$(BIN)/python -m pip $(PIP) --editable '.[export,dev]'
	@touch $@

$(DEVICE)/ready: pyproject.toml
	@echo "setting up a device in $(DEVICE): tflite-runtime, numpy 1, no torch (about 100 MB)"
	@$(PYTHON) -m venv $(DEVICE)
	@$(DEVICE)/bin/python -m pip $(PIP) --editable '.[tflite-runtime]' pytest hypothesis
	@touch $@
