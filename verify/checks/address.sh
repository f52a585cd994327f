#!/usr/bin/env bash
# Runs the tests of the product in bf16 under AddressSanitizer, which sees memory that is read or
# written beyond its end. (valgrind knows no AVX-512 and would run the form for other processors.) A
# control, a read beyond an end, has to be found.
# Status 1: something was found, or the control was not; 77: not run, there is no nightly compiler
# with the library's source (rustup toolchain install nightly; rustup component add rust-src
# --toolchain nightly), or the processor has no AVX512-BF16.
#
#   verify/checks/address.sh       # five minutes, most of them to build
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=$(rustc -vV | sed -n 's/^host: //p')
if ! rustup component list --toolchain nightly 2>/dev/null | grep -q '^rust-src (installed)'; then
    echo "address: not run, there is no nightly compiler with rust-src" >&2
    exit 77
fi
if ! grep -q -m 1 avx512_bf16 /proc/cpuinfo; then
    echo "address: not run, this processor has no AVX512-BF16" >&2
    exit 77
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/address} RUSTFLAGS=-Zsanitizer=address
# threads that end while memory is still theirs are not what is looked for
export ASAN_OPTIONS=detect_leaks=0
tests() {
    cargo +nightly test -q -Zbuild-std --target "$TARGET" --release -p inducer-gpu --lib -- \
        "$@" 2>&1
}

if ! found=$(tests kernels::bf16); then
    echo "$found" >&2
    echo "address: AddressSanitizer found something" >&2
    exit 1
fi
passed=$(grep -o '[0-9]* passed' <<<"$found")
if [ "$passed" = "0 passed" ]; then
    echo "$found" >&2
    exit 1
fi
echo "address  gpu      $passed"
control=an_element_beyond_the_end_is_read
found=$(tests --ignored --exact "kernels::gemm::tests::$control") || true
if ! grep -q 'AddressSanitizer: heap-buffer-overflow' <<<"$found"; then
    echo "$found" >&2
    echo "address: AddressSanitizer did not find the control" >&2
    exit 1
fi
echo "address  gpu      the control, a read beyond an end, was found"
