#!/usr/bin/env bash
# Installs the dependencies of one extra of pyproject.toml (not the package itself) into .venv,
# with the CPU build of torch: on Linux the default build brings gigabytes of CUDA along.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=$1
pip=(.venv/bin/python -m pip install -q --disable-pip-version-check)
torch=torch==2.13.0

if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
  "${pip[@]}" "$torch+cpu" 2>/dev/null ||
    "${pip[@]}" "$torch" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
    "${pip[@]}" "$torch"
fi
.venv/bin/python - "$extra" <<'PY' | xargs -d '\n' "${pip[@]}"
import sys

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10: scikit-build-core brought it
    import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["dependencies"], *project["optional-dependencies"][sys.argv[1]], sep="\n")
PY
