#!/usr/bin/env bash
# The reader under AddressSanitizer and UndefinedBehaviorSanitizer, over damaged and hostile input.
# usage: tools/sanitize.sh PYTHON [pytest arguments instead of the usual files]
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  for name in damage reader_damage demux_hostile saved_index coviar reader_sources oracle_damage \
    mpeg4_parser native_range accumulate; do
    tests+=("tests/python/test_$name.py")
  done
fi

cmake --preset asan -DCMAKE_PREFIX_PATH="$("$python" -m pybind11 --cmakedir)" \
  -DPython_EXECUTABLE="$(command -v "$python")" >/dev/null
cmake --build --preset asan --target _core
# A package of its own, so that the ordinary build in the tree stays what it is.
package=build/asan/package
rm -rf "$package"
mkdir -p "$package"
cp -r python/cvdecode "$package/"
rm -f "$package"/cvdecode/_core*.so
cp build/asan/_core*.so "$package/cvdecode/"

# Both libraries: without libstdc++ before the program, the first C++ exception ends it.
export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
export PYTHONPATH="$PWD/$package"
export UBSAN_OPTIONS=print_stacktrace=1
# CPython leaves memory behind at exit on purpose; requests that are too large get a null.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1
"$python" -m pytest -q -p no:cacheprovider -p no:xdist "${tests[@]}"

# Leaks: of all that is left at exit, nothing may have been allocated by the core.
report=build/asan/leaks.txt
ASAN_OPTIONS=detect_leaks=1 LSAN_OPTIONS=exitcode=0:max_leaks=0 PYTHONMALLOC=malloc \
  "$python" tests/leaks.py >"$report" 2>&1
grep -q "read again and again" "$report" || { cat "$report"; exit 1; }
if grep -B8 "cvdecode::" "$report" | grep -q "Direct leak"; then
  grep -B8 -A8 "cvdecode::" "$report"
  echo "the core leaks: $report"
  exit 1
fi
echo "no leak of the core; sanitizers found nothing"
