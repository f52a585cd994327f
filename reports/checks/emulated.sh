#!/usr/bin/env bash
# Runs the command on processors that this machine is not, by qemu's user emulation: the least
# x86-64 (no AVX), one with AVX2 and, natively, the widest here. Each has to compute the same logits
# and gradients, with no instruction that it does not have.
#
#     reports/checks/emulated.sh inducer BACKBONE ADAPTER
#
# qemu64 is an AMD without 3DNow!, which no AMD of that time was: OpenBLAS takes it for an Opteron
# and prefetches by 3DNow!, so it is told which kernels to take. No other processor needs that.
#
# PYTHON names an interpreter with safetensors and numpy. Exit status 77 ("not run") without qemu.
set -euo pipefail
binary=$(realpath "$1") backbone=$(realpath "$2") adapter=$(realpath "$3")
command -v qemu-x86_64 >/dev/null || { echo "not run: no qemu-x86_64 (qemu-user)" >&2; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"input_ids": [[5, 6, 7, 8, 9, 10]], "labels": [[5, 6, 7, 8, 9, 10]]}' >batch.json
run() {
    "$@" forward --backbone "$backbone" --adapter "$adapter" --batch batch.json \
        --out "$name.safetensors" --gradients --threads 1
}
name=native run "$binary"
for name in qemu64 core2duo Haswell; do
    unset OPENBLAS_CORETYPE
    [ "$name" != qemu64 ] || export OPENBLAS_CORETYPE=Prescott
    run qemu-x86_64 -cpu "$name" "$binary" 2>"$name.err"
    qemu-x86_64 -cpu "$name" "$binary" doctor 2>/dev/null | sed -n 3p
    qemu-x86_64 -cpu "$name" "$binary" teach --out "$name.html" 2>/dev/null
done
"${PYTHON:-python3}" - <<'EOF'
from safetensors.numpy import load_file

native = load_file("native.safetensors")
for name in ("qemu64", "core2duo", "Haswell"):
    other = load_file(f"{name}.safetensors")
    worst = max(abs(other[k] - native[k]).max() for k in native)
    print(f"{name}: {len(native)} tensors, largest difference {worst:.1e}")
    assert other.keys() == native.keys() and worst < 1e-4
EOF
