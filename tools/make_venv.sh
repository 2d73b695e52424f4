#!/usr/bin/env bash
# A virtual environment in .venv with the build tools of pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || python3 -m venv .venv
# The pip of a venv is the system's: that of Ubuntu 22.04 and Debian 12 knows no build options (-C).
.venv/bin/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=23.1'
.venv/bin/python -m pip install -q --disable-pip-version-check \
  'scikit-build-core>=0.10' 'pybind11>=3.0' 'cmake>=3.25' ninja
