#!/bin/sh
# Compiles a network, builds the program beside this file with it, and runs it.
# NETC, CXX and OUT say with what and where.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
out=${OUT:-$here/build}
mkdir -p "$out"

${NETC:-netc} compile "$models/digits.net" --embed-weights "$models/digits/digits.safetensors" -o "$out/libdigits.a"
${CXX:-c++} -std=c++17 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$out" \
  "$here/main.cpp" "$out/libdigits.a" -lm -lpthread -o "$out/digits"
"$out/digits" "$models/digits/images.idx"
