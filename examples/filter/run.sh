#!/bin/sh
# Compiles a filter, builds the program beside this file with it, and lets it read standard input.
# NETC, CC and OUT say with what and where.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
out=${OUT:-$here/build}
mkdir -p "$out"

${NETC:-netc} compile "$models/filter.net" --embed-weights "$models/filter/filter.safetensors" -o "$out/libfilter.a" >&2
${CC:-cc} -std=c99 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$out" \
  "$here/filter.c" "$out/libfilter.a" -lm -lpthread -o "$out/filter"
"$out/filter"
