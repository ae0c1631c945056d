#!/bin/sh
# Compiles a network to a shared library and runs the program beside this file with it.
# NETC, PYTHON and OUT say with what and where.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
out=${OUT:-$here/build}
mkdir -p "$out"

${NETC:-netc} compile "$models/digits.net" --embed-weights "$models/digits/digits.safetensors" -o "$out/libdigits.so"
${PYTHON:-python3} "$here/digits.py" "$out/libdigits.so" "$models/digits/images.idx"
