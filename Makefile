# The front door: make demo | make small | make test | make quality | make bench.
# Each sets up .venv first if it is not there; a second run starts at once. Needs Python 3.11 or later, pip and make.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# Compiled are all files at the end, on all cores.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile

# On Linux without an NVIDIA GPU the CPU builds of torch are looked for first, since PyPI's bring several GB of CUDA.
# Where that address cannot be reached pip says so and goes on with its other sources. `make TORCH_INDEX= demo` leaves
# it out, `make TORCH_INDEX=https://... demo` names another.
ifeq ($(shell uname -s)$(shell command -v nvidia-smi),Linux)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif

# Nothing is fetched from the Hub or sent to it, and one thread a process keeps the test processes steady: three on two
# cores, since each often waits for a process, a server or a page.
# Some containers tell Python to keep no bytecode: a hundred processes would each compile anew what they import.
TEST_ENV := HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1 \
	PYTHONDONTWRITEBYTECODE=

SMALL := runs/small

.PHONY: setup demo small test quality bench browser

demo: setup
	HF_HUB_DISABLE_TELEMETRY=1 $(BIN)/python -m evaluation.demo

small: $(SMALL)/clue-small/config.json
	HF_HUB_DISABLE_TELEMETRY=1 $(BIN)/python -m train.small.answers --model $(SMALL)/clue-small

$(SMALL)/init/config.json: | setup
	$(BIN)/python -m train.small --output-dir $(SMALL)

# What was trained may be another after a pull.
TRAINED = $(wildcard checkpoints/clue-small/*.safetensors checkpoints/clue-small/calibration.json)
$(SMALL)/clue-small/config.json: $(TRAINED) | $(SMALL)/init/config.json
	rm -rf $(@D)
	$(BIN)/python -m modeling_clue.conversion apply --model $(SMALL)/init --adapter checkpoints/clue-small --output-dir $(@D)

test: setup browser
	$(TEST_ENV) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

quality: setup
	$(BIN)/pre-commit run --all-files --show-diff-on-failure

bench: setup
	@set -e; for script in $(filter-out benchmarks/measure.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script; done

setup: $(VENV)/.stamp-torchvision

# The Spaces are tested in a real browser. A machine without one gets Debian's if this is root's, as in a container of
# CI; elsewhere nothing is installed beside .venv, and those tests say why they are skipped.
browser:
	@if ! command -v chromium >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
				|| echo "chromium could not be installed: the tests in a browser will be skipped." >&2; \
		else \
			echo "No chromium: the tests in a browser will be skipped. Install it to run them." >&2; \
		fi; \
	fi

$(VENV)/.stamp-python:
	@set -e; python=; \
	for candidate in python3.11 python3; do \
		if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Python 3.11 or later is needed: install it, so that python3.11 or python3 runs it, and try again." >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV)
	@touch $@

# torch comes first and alone, at the tested version: what is installed later finds it in place and keeps it.
$(VENV)/.stamp-torch: $(VENV)/.stamp-python constraints.txt
	$(PIP) --no-deps --retries 2 $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt torch torchvision
	@touch $@

# pip comes first: that of a new environment of Python 3.11 does not know dependency groups.
$(VENV)/.stamp-project: $(VENV)/.stamp-torch pyproject.toml
	$(PIP) -c constraints.txt pip
	$(PIP) -c constraints.txt -e . --group dev
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # some files are templates of code, and none
	@touch $@

# Only beside a CPU build of torch whose torchvision does not load; see tools/torchvision_cpu.
$(VENV)/.stamp-torchvision: $(VENV)/.stamp-project $(addprefix tools/torchvision_cpu/,pyproject.toml torchvision_cpu_ops.py)
	@if $(BIN)/python tools/torchvision_cpu/torchvision_cpu_ops.py; then $(PIP) ./tools/torchvision_cpu; fi
	@touch $@
