#!/bin/sh
# Compiles the kernels for every architecture edgeflow may meet, or for those given, as in `compile_everywhere.sh 87`.
# Needs nvcc 13 and no GPU.
set -eu
kernels=$(dirname "$0")/../../../targets/tensorrt_plugins/kernels
architectures=${*:-75 80 86 87 89 90 100 110 120}
codes=
for architecture in $architectures; do
    codes="$codes -gencode arch=compute_$architecture,code=sm_$architecture"
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# shellcheck disable=SC2086  # one argument per word
nvcc -std=c++17 -O3 $codes -Werror all-warnings -Xcompiler=-fPIC,-Wall,-Wextra -shared --threads 2 \
    "$kernels"/*.cu -o "$folder/kernels.so"
echo "compiled for: $architectures"
