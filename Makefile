# Two commands are all a newcomer types: make demo, make test.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
# Tests and benches call cmake, ninja and cvdecode by name.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
CLIP ?=
# One test process a core, each with one thread of its own for torch.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto
SOURCES := $(shell find csrc python/cvdecode -type f -not -name '*.so' -not -name '*.pyc' -not -path '*/__pycache__*') CMakeLists.txt pyproject.toml
STAMPS := .venv/.stamps

.PHONY: help demo test test-long build lint format bench bench-accumulation evidence \
  evidence-accumulation evidence-quick fuzz sanitize conformance cuda-check clean

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMPS)/venv: tools/system_packages.sh tools/make_venv.sh
	tools/system_packages.sh build
	tools/make_venv.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/run: $(STAMPS)/venv pyproject.toml tools/install_python.sh
	tools/install_python.sh report
	@touch $@

$(STAMPS)/dev: $(STAMPS)/run
	tools/system_packages.sh test
	tools/install_python.sh dev
	@touch $@

$(STAMPS)/build: $(STAMPS)/run $(SOURCES)
	$(PY) -m pip install -q --no-build-isolation --no-deps --force-reinstall -C build-dir=build/wheel .
	@touch $@

build: $(STAMPS)/build  ## Build the package and install it into .venv

demo: build  ## All planes of a video, accumulated: a table and demo/report.html (CLIP=path for your own)
	$(PY) examples/demo.py $(if $(CLIP),"$(CLIP)")

test: build $(STAMPS)/dev  ## The whole test suite, long runs in their short form
	$(PYTEST) $(PYTEST_ARGS)

test-long: build $(STAMPS)/dev  ## The suite with every oracle over the whole generated matrix
	CVDECODE_LONG=1 $(PYTEST) $(PYTEST_ARGS)

lint: build $(STAMPS)/dev  ## Formatters, linters, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	clang-format --dry-run -Werror $$(find csrc bench tests -name '*.cc' -o -name '*.h' -o -name '*.cu')

format: $(STAMPS)/dev  ## Format all sources in place
	$(PY) -m ruff check --fix-only -q .
	$(PY) -m ruff format -q .
	clang-format -i $$(find csrc bench tests -name '*.cc' -o -name '*.h' -o -name '*.cu')

build/venv-cvp/.stamp: $(STAMPS)/dev tools/install_bench.sh
	tools/install_bench.sh
	@mkdir -p $(@D) && touch $@

bench: build build/venv-cvp/.stamp  ## Speed against the peers: JSON under bench/results and a table
	cmake --preset bench -DCMAKE_PREFIX_PATH="$$($(PY) -m pybind11 --cmakedir)" \
	  -DPython_EXECUTABLE="$(CURDIR)/$(PY)" >/dev/null
	cmake --build --preset bench --target bench_programs
	$(PY) bench/python/run.py $(BENCH_ARGS)

bench-accumulation: build  ## Accumulation against NumPy and memcpy, and grid=4 against parsing: a table
	$(PY) bench/python/accumulation.py

evidence-accumulation: build $(STAMPS)/dev  ## Accumulated displacement against motion that a formula gives
	$(PY) bench/python/known_motion.py --pictures docs/images

evidence: build $(STAMPS)/dev  ## The experiments at full size: docs/evidence (goes on where it stopped)
	$(PY) -m evidence $(EVIDENCE_ARGS)

evidence-quick: build $(STAMPS)/dev  ## The same at toy size, into build/evidence-quick: does it run?
	CVDECODE_EVIDENCE_CACHE=build/evidence-quick $(PY) -m evidence --quick --out build/evidence-quick

fuzz: build $(STAMPS)/dev  ## A million inputs for every fuzz target, under ASan and UBSan
	$(PY) tests/fuzz/fuzzing.py

sanitize: build $(STAMPS)/dev  ## The reader under ASan and UBSan, over damaged and hostile input
	tools/sanitize.sh $(CURDIR)/$(PY)

conformance: build $(STAMPS)/dev  ## Every oracle over every shared clip: docs/conformance.md
	$(PY) tests/conformance.py

cuda-check:  ## GPU kernels: checked and measured on a machine with a GPU; needs CUDA and CMake only
	cmake -S tests/cuda -B build/cuda-check
	cmake --build build/cuda-check --parallel
	build/cuda-check/cuda_check

clean:  ## Remove everything that was built
	rm -rf build .venv demo dist
	find python -name '*.so' -delete
