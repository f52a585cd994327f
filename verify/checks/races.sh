#!/usr/bin/env bash
# Runs the tests of the code that shares pointers among threads under ThreadSanitizer, which sees two
# accesses of one number, one of them a write, that nothing puts in order. A control, two threads that
# write one number, has to be found. The standard library is built with it, so that its locks and
# atomic operations are seen as well. (valgrind's drd is no help here: it takes no atomic operation
# for an order, and reports hundreds of places in the standard library and in rayon.)
# Status 1: something was found, or the control was not; 77: not run, there is no nightly compiler
# with the library's source (rustup toolchain install nightly; rustup component add rust-src
# --toolchain nightly).
#
#   verify/checks/races.sh         # five minutes, most of them to build
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=$(rustc -vV | sed -n 's/^host: //p')
if ! rustup component list --toolchain nightly 2>/dev/null | grep -q '^rust-src (installed)'; then
    echo "races: not run, there is no nightly compiler with rust-src" >&2
    exit 77
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/races} RUST_TEST_THREADS=1
# the emulated kernels are C++, which is built without it: they have no threads
export RUSTFLAGS=-Zsanitizer=thread
threads() {
    RAYON_NUM_THREADS=4 cargo +nightly test -q -Zbuild-std --target "$TARGET" --release \
        -p inducer-gpu --lib -- "$@" 2>&1
}

if ! found=$(threads kernels::gemm kernels::bf16 kernels::few_rows kernels::inplace \
    kernels::threads kernels::elem ops::tests::layers ops::tests::attention); then
    echo "$found" >&2
    echo "races: ThreadSanitizer found something" >&2
    exit 1
fi
passed=$(grep -o '[0-9]* passed' <<<"$found")
if grep -q 'WARNING: ThreadSanitizer' <<<"$found" || [ "$passed" = "0 passed" ]; then
    echo "$found" >&2
    exit 1
fi
echo "races    gpu      $passed"
control=two_threads_write_one_number
found=$(threads --ignored --exact "kernels::gemm::tests::$control") || true
if ! grep -q 'WARNING: ThreadSanitizer: data race' <<<"$found"; then
    echo "$found" >&2
    echo "races: ThreadSanitizer did not find the control" >&2
    exit 1
fi
echo "races    gpu      the control was found: $control"
