#!/usr/bin/env bash
# Installs what is missing of the system packages: build needs always, test needs with "test".
# Asks nothing; uses sudo only when not root. A machine that has everything is left alone.
set -euo pipefail

want=${1:-build}
missing=()
need_command() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need_library() { pkg-config --exists "$1" 2>/dev/null || missing+=("$2"); }
need_file() { compgen -G "$1" >/dev/null || missing+=("$2"); }

need_command g++ g++
need_command git git
need_command ffmpeg ffmpeg
need_command pkg-config pkg-config
need_library libavformat libavformat-dev
need_library libavcodec libavcodec-dev
need_library libavutil libavutil-dev
need_library libswscale libswscale-dev
need_library libhwy libhwy-dev
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
python3 - <<'PY' 2>/dev/null || missing+=(python3-dev)
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
PY
if [ "$want" = test ]; then
  need_command clang++ clang
  need_command clang-format clang-format
  need_file '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' libclang-rt-dev
  need_library benchmark libbenchmark-dev
  # Ubuntu offers Chromium as a snap only; the page test skips with its reason where there is none.
  if ! command -v chromium >/dev/null 2>&1 && grep -qi '^ID=debian' /etc/os-release; then
    missing+=(chromium)
  fi
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "cvdecode needs these packages (named as in Debian): ${missing[*]}" >&2
  echo "Install them with your package manager and run make again." >&2
  exit 1
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi
echo "installing system packages: ${missing[*]}"
"${sudo[@]}" apt-get update -q
# A release that packs something differently (the clang runtime, for one) lacks the name: pass over it.
known=()
for package in "${missing[@]}"; do
  if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
done
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${known[@]}"
