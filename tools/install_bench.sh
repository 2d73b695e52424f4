#!/usr/bin/env bash
# The peers that make bench measures: the extra "bench" into .venv, one package after the other, and
# codec-video-prep, which wants an older NumPy, into build/venv-cvp. What cannot be installed here is
# named by the bench as not measured.
set -uo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python - <<'PY' | while read -r package; do
try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["bench"], sep="\n")
PY
  .venv/bin/python -m pip install -q --disable-pip-version-check "$package" </dev/null ||
    echo "cannot be installed here, will not be measured: $package" >&2
done

if [ ! -x build/venv-cvp/bin/python ]; then
  mkdir -p build
  .venv/bin/python -m venv build/venv-cvp
fi
build/venv-cvp/bin/python -m pip install -q --disable-pip-version-check \
  codec-video-prep==0.2.5 'numpy<2' ||
  echo "cannot be installed here, will not be measured: codec-video-prep" >&2
exit 0
