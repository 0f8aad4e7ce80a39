# Each target sets up what it needs. PYTHON picks the interpreter (3.11 or later).
PYTHON ?= python3
VENV := .venv
DEVICE := .venv-device
# The oldest Pillow that pyproject.toml allows, and that of Debian 13, which a Pi's own camera library brings.
OLD_PILLOWS := 10.1.0 11.1.0
PICTURES := tests/edge/picture/test_find.py tests/edge/picture/test_preprocess.py tests/edge/picture/test_metadata.py tests/edge/picture/test_folders.py
HOMEASSISTANT := .venv-homeassistant
FLOWER := .venv-flower
TENSORFLOW := .venv-tensorflow
RELEASE := .venv-release
FUZZ := .venv-fuzz
WEB := .venv-web
DOCS := .venv-docs
BIN := $(VENV)/bin
PIP := install --quiet --disable-pip-version-check
# One worker for each core, up to eight. Each takes its share of the tests and, when it is done, half of another's rest.
WORKERS := -n auto --maxprocesses=8 --dist worksteal
# Tests write thousands of small files and sync each: into memory where there is room for them.
ifeq ($(shell test "$$(df -m --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 4000 2>/dev/null && echo room),room)
test test-fast: export PYTEST_DEBUG_TEMPROOT := /dev/shm
endif

.PHONY: demo test test-fast test-clients test-web test-flower test-arm test-vm test-container addon check bench bench-heads bench-backbones bench-trust bench-fleet bench-frigate torture fuzz docs licences dist clean

demo: $(VENV)/ready  ## The main job, end to end, on real photographs
	@rm -rf demo
	@$(BIN)/python -m tests.readme

test: $(VENV)/ready $(DEVICE)/ready build/surfaces.edge $(OLD_PILLOWS:%=build/pillow-%)  ## All tests: the workstation's, then the device half alone
	@$(MAKE) --silent $(HOMEASSISTANT)/ready || echo "Home Assistant cannot be installed here: its own check of our messages is skipped"
	@$(MAKE) --silent build/node-red/ready || echo "Node-RED cannot be installed here: the test of its flow is skipped"
	@echo "== workstation: torch, ONNX Runtime, LiteRT"
	@EDGE_SURFACES=build $(BIN)/python -m pytest $(WORKERS) --durations=20 tests
	@echo "== the page in a browser"
	@if $(MAKE) --silent $(WEB)/ready; then EDGE_SURFACES=build EDGE_SHOTS=build/page $(WEB)/bin/python -m pytest $(WORKERS) tests/web; \
	  else echo "Chromium cannot be had here: the browser tests of the page are skipped"; fi
	@echo "== device: tflite-runtime and numpy 1 alone, no torch"
	@EDGE_SURFACES=build $(DEVICE)/bin/python -m pytest $(WORKERS) tests/edge
	@for version in $(OLD_PILLOWS); do \
	  echo "== device: pictures with Pillow $$version"; \
	  PYTHONPATH=build/pillow-$$version $(DEVICE)/bin/python -m pytest $(WORKERS) $(PICTURES) || exit 1; \
	done

test-fast: $(VENV)/ready  ## The workstation's tests without the converters, kills and fuzzing, which take most of the time
	@$(BIN)/python -m pytest $(WORKERS) -m "not converters and not kills and not fuzzing" tests

test-web: $(WEB)/ready build/surfaces.edge  ## The page in Chromium: mouse, touch, keyboard, phone and desktop, light and dark
	@EDGE_SURFACES=build EDGE_SHOTS=build/page $(WEB)/bin/python -m pytest $(WORKERS) tests/web

test-flower: $(FLOWER)/ready  ## The Flower app: a SuperLink and SuperNodes on loopback, with TLS and keys, one of them killed
	@$(FLOWER)/bin/python -m pytest tests/edge/fleet/test_flower.py

test-clients: $(VENV)/ready  ## Every backbone, exported, in ONNX Runtime 1.16, OpenCV 4 and 5, tflite-runtime and MediaPipe
	@EDGE_EVERY_BACKBONE=1 $(BIN)/python -m pytest tests/export/convert/test_clients.py

test-arm: $(VENV)/ready build/surfaces.edge  ## The device half on emulated aarch64 Debian: each runtime, each processor of a Pi
	@EDGE_SURFACES=build $(BIN)/python -m tests.arm

test-vm: $(VENV)/ready build/surfaces.edge  ## From install.sh to a camera service in an emulated machine of 512 MB
	@EDGE_SURFACES=build $(BIN)/python -m tests.arm.vm

test-container: $(VENV)/ready build/surfaces.edge addon  ## The container and the Home Assistant add-on: built and run by podman
	@EDGE_CONTAINER=1 EDGE_SURFACES=build $(BIN)/python -m pytest tests/test_container.py

addon:  ## The Home Assistant add-on, in build/addon: one folder with all that its image is built from
	@rm -rf build/addon && mkdir -p build/addon/edge_transfer
	@cp -r pyproject.toml README.md LICENSE edge export device_scripts build/addon/edge_transfer
	@cp -r device_scripts/homeassistant/config.yaml device_scripts/homeassistant/translations device_scripts/homeassistant/DOCS.md build/addon/edge_transfer
	@cat device_scripts/Dockerfile device_scripts/homeassistant/Dockerfile.end >build/addon/edge_transfer/Dockerfile
	@find build/addon -name __pycache__ -prune -exec rm -rf {} +
	@echo "build/addon/edge_transfer: copy it into the folder addons of Home Assistant (docs/integrations.md)"

check: $(VENV)/ready  ## Format, lint, strict types, doctests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest edge export

bench: $(VENV)/ready  ## Speed and memory against the bare runtime, as ratios within one run
	@$(BIN)/python -m benchmarks.job
	@$(BIN)/python -m benchmarks.page

bench-heads: $(VENV)/ready  ## Every head, ours and the peers', on the same embeddings
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.heads

bench-trust: $(VENV)/ready  ## Does it know what it does not know, see wrong pictures and labels, stop worse heads
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.trust
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.audit

bench-fleet: $(VENV)/ready  ## A fleet: the gain of joining on real photos; time, memory and bytes of 200 to 100,000 devices
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.fleet_photos
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.fleet

bench-backbones: $(VENV)/ready  ## The backbones: accuracy on photos they never saw, size, speed
	@$(BIN)/python -m benchmarks.backbones

bench-frigate: $(VENV)/ready $(TENSORFLOW)/ready  ## From a folder of photos to a model: beside Frigate's own trainer in TensorFlow
	@$(BIN)/python -m benchmarks.frigate $(TENSORFLOW)/bin/python

torture: $(VENV)/ready  ## Kill it, fail it, crowd it at every moment; one table, nothing may be lost
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.torture

fuzz: $(FUZZ)/ready  ## Everything that reads what others wrote, by coverage-guided fuzzing: two minutes each
	@$(FUZZ)/bin/python -m tests.fuzz

build/surfaces.edge: $(VENV)/ready $(shell find edge export -name "*.py")
	@echo "building a bundle of the sample photographs for the tests (1 minute)"
	@rm -rf build/sample
	@$(BIN)/edge-export sample build/sample >/dev/null
	@$(BIN)/edge-export build build/sample/photos --backbone embedded -o $@

build/pillow-%: $(DEVICE)/ready
	@$(DEVICE)/bin/python -m pip $(PIP) --target $@ pillow==$*

docs: $(DOCS)/ready  ## The documentation site, in build/site; a link that leads nowhere is an error
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "build/site/index.html; with its search: python3 -m http.server --directory build/site"

licences: $(VENV)/ready $(DEVICE)/ready $(FLOWER)/ready  ## docs/licences.md and docs/constraints.txt, from what is installed here
	@$(BIN)/python -m pip $(PIP) --editable '.[lite2]'
	@$(BIN)/python docs/dependencies.py licences > build/licences.md && mv build/licences.md docs/licences.md
	@$(BIN)/python docs/dependencies.py constraints > build/constraints.txt && mv build/constraints.txt docs/constraints.txt

dist: $(RELEASE)/ready $(VENV)/ready  ## The wheel and the sdist, in dist; each installed where nothing else is, and tried
	@rm -rf dist
	@mkdir -p build
	@$(BIN)/python -m build --outdir dist >build/dist.log 2>&1 || { cat build/dist.log; exit 1; }
	@$(RELEASE)/bin/twine check --strict dist/*
	@for file in dist/*.whl dist/*.tar.gz; do \
	  rm -rf build/bare && $(PYTHON) -m venv build/bare && build/bare/bin/python -m pip $(PIP) "$$file" || exit 1; \
	  (cd build/bare && bin/edge --help && bin/edge-export --help && bin/python -m doctest lib/python3*/site-packages/edge/testing.py) \
	    >build/dist.log || { cat build/dist.log; exit 1; }; \
	  echo "$$file: edge --help, edge-export --help and a learner with the fake network work from it alone"; \
	done
	@$(RELEASE)/bin/cyclonedx-py environment build/bare --pyproject pyproject.toml -o dist/edge-transfer.cdx.json
	@echo "dist/edge-transfer.cdx.json: what pip installs for it (CycloneDX)"

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(DEVICE) $(DOCS) $(WEB) $(HOMEASSISTANT) $(FLOWER) $(TENSORFLOW) $(RELEASE) $(FUZZ) demo build dist

$(VENV)/ready: pyproject.toml
	@echo "setting up the workstation in $(VENV): torch, torchvision, ONNX, LiteRT (about 2.5 GB, 3 minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip $(PIP) torch==2.13.0
	@$(BIN)/python -m pip $(PIP) --editable '.[export,dev]'
	@touch $@

$(DEVICE)/ready: pyproject.toml
	@echo "setting up a device in $(DEVICE): tflite-runtime, numpy 1, no torch (about 100 MB)"
	@$(PYTHON) -m venv $(DEVICE)
	@$(DEVICE)/bin/python -m pip $(PIP) --editable '.[tflite-runtime,web]' pytest pytest-xdist hypothesis
	@touch $@

$(DOCS)/ready: pyproject.toml
	@echo "setting up mkdocs-material and mkdocstrings in $(DOCS) (about 290 MB)"
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip $(PIP) --editable '.[docs]'
	@touch $@

$(WEB)/ready: pyproject.toml
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; } \
	  || { echo "no chromium here; run: sudo apt install chromium"; exit 1; }
	@echo "setting up a browser's driver in $(WEB) (about 250 MB)"
	@$(PYTHON) -m venv $(WEB)
	@$(WEB)/bin/python -m pip $(PIP) --editable '.[onnx,web]' pytest pytest-xdist hypothesis playwright axe-playwright-python
	@touch $@

# Home Assistant 2025.4 needs Python 3.13, which uv finds here or brings; pip takes half an hour for the same. pyenv's
# stand-in for a Python that is not the chosen one does not run, so its own folder is looked into.
PYTHON313 := $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) 3.13)
$(HOMEASSISTANT)/ready:
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || { test "$$(id -u)" = 0 && apt-get install -qq -y --no-install-recommends mosquitto >/dev/null; } \
	  || { echo "no mosquitto here; run: sudo apt install mosquitto"; exit 1; }
	@echo "setting up $(HOMEASSISTANT): Home Assistant 2025.4 with its MQTT integration, to show it our messages (400 MB)"
	@$(PYTHON) -m venv build/uv && build/uv/bin/python -m pip $(PIP) uv
	@build/uv/bin/uv venv --quiet --clear --python $(PYTHON313) $(HOMEASSISTANT)
	@build/uv/bin/uv pip install --quiet --python $(HOMEASSISTANT) homeassistant==2025.4.4 paho-mqtt==2.1.0
	@touch $@

$(FLOWER)/ready: pyproject.toml
	@echo "setting up Flower 1.42 in $(FLOWER), which asks for older versions than the workstation's (430 MB)"
	@$(PYTHON) -m venv $(FLOWER)
	@$(FLOWER)/bin/python -m pip $(PIP) --editable '.[onnx,flower]' pytest hypothesis
	@touch $@

$(RELEASE)/ready:
	@echo "setting up twine and cyclonedx-bom in $(RELEASE), which look at what is released (60 MB)"
	@$(PYTHON) -m venv $(RELEASE)
	@$(RELEASE)/bin/python -m pip $(PIP) twine cyclonedx-bom
	@touch $@

$(FUZZ)/ready: pyproject.toml
	@echo "setting up atheris in $(FUZZ) (130 MB)"
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip $(PIP) --editable . atheris
	@touch $@

build/node-red/ready:
	@command -v npm >/dev/null || { echo "no npm here; run: sudo apt install npm"; exit 1; }
	@echo "setting up Node-RED in build/node-red, which runs the flow of docs/integrations.md (120 MB)"
	@npm install --prefix build/node-red --silent --no-audit --no-fund node-red@4.1
	@touch $@

$(TENSORFLOW)/ready:
	@echo "setting up TensorFlow in $(TENSORFLOW), for the comparison alone (2 GB)"
	@$(PYTHON) -m venv $(TENSORFLOW)
	@$(TENSORFLOW)/bin/python -m pip $(PIP) tensorflow==2.21.0 pillow
	@touch $@
