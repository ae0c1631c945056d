#!/bin/sh
# Compiles two networks, builds the programs beside this file with them, and runs both.
# NETC, CC and OUT say with what and where.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
models=$here/../../models
out=${OUT:-$here/build}
mkdir -p "$out"
flags="-std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -I$out -I$here"

${NETC:-netc} compile "$models/digits.net" --embed-weights "$models/digits/digits.safetensors" -o "$out/libdigits.a"
${CC:-cc} $flags "$here/infer.c" "$out/libdigits.a" -lm -lpthread -o "$out/infer"
"$out/infer" "$models/digits/images.idx"

${NETC:-netc} compile "$models/lenet.net" --train -o "$out/liblenet.a"
${CC:-cc} $flags "$here/train.c" "$out/liblenet.a" -lm -lpthread -o "$out/train"
"$out/train" "$models/digits/images.idx" "$models/digits/labels.idx" "$out/lenet.safetensors"
