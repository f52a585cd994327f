#!/usr/bin/env bash
# Whether the feature `cuda` builds, on a machine without a card.
#
#   verify/checks/cuda_builds.sh            # type checks all crates and compiles every kernel
#   verify/checks/cuda_builds.sh --release  # builds the program: OUT/inducer.xz for cuda.sh, which
#                                           # has to be smaller than 40 MB
#
# Needs nvcc, from $NVCC or the path. Where there is none, a toolkit is made of NVIDIA's wheels in
# target/cuda-toolkit (Python 3 with venv, 1.2 GB, once). The driver's library, which the linker
# asks for, is a stub of the symbols that cudarc names: a program linked with it runs on a machine
# with a driver, and nowhere else.
set -euo pipefail
cd "$(dirname "$0")/../.."
VERSION=13.0.3.0
KIT=$PWD/target/cuda-toolkit
OUT=${OUT:-$PWD/target/cuda}

toolkit() {
    [ -x "$KIT/bin/nvcc" ] && return
    echo "cuda_builds: a toolkit is being made in $KIT" >&2
    mkdir -p "$KIT/lib64/stubs"
    python3 -m venv "$KIT/venv"
    local parts=nvcc,crt,nvvm,cccl,cudart,nvrtc,curand,cublas
    "$KIT/venv/bin/pip" install -q "cuda-toolkit[$parts]==$VERSION"
    local wheels part file
    wheels=$(echo "$KIT"/venv/lib/python3*/site-packages/nvidia/cu13)
    for part in bin include nvvm; do
        ln -sfn "$wheels/$part" "$KIT/$part"
    done
    for file in "$wheels"/lib/*; do
        ln -sfn "$file" "$KIT/lib64/$(basename "$file")"
        # the linker wants names without a version
        ln -sfn "$file" "$KIT/lib64/$(basename "${file%.so*}").so"
    done
    cargo fetch -q
    local sources
    sources=$(printf '%s\n' "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-0.19.* | tail -n 1)
    grep -ohE 'unsafe fn cu[A-Z][A-Za-z0-9_]+' "$sources"/src/driver/sys/*.rs |
        awk '{ print "void " $3 "(void) {}" }' | sort -u >"$KIT/stub.c"
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$KIT/lib64/stubs/libcuda.so" "$KIT/stub.c"
}

if [ -z "${NVCC:-}" ] && ! command -v nvcc >/dev/null; then
    toolkit
    export CUDA_HOME=$KIT CUDA_PATH=$KIT NVCC=$KIT/bin/nvcc PATH=$KIT/bin:$PATH
    export LIBRARY_PATH=$KIT/lib64:$KIT/lib64/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}
fi
# what candle's own kernels are built for, as PTX
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
export CARGO_TARGET_DIR=$OUT
if [ "${1:-}" = --release ]; then
    cargo build --release -p inducer-reports --bin inducer --features cuda
    strip -o "$OUT/inducer" "$OUT/release/inducer"
    xz -kf -T0 "$OUT/inducer"
    ls -l "$OUT/inducer.xz"
    size=$(wc -c <"$OUT/inducer.xz")
    if [ "$size" -ge 40000000 ]; then
        echo "cuda_builds: $OUT/inducer.xz: expected fewer than 40 MB, found $size bytes" >&2
        exit 1
    fi
else
    cargo check --features cuda
fi
