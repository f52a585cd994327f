#!/usr/bin/env bash
# Runs the tests of the code that shares pointers among threads under ThreadSanitizer, which sees
# two accesses of one number, one of them a write, that nothing puts in order. A control, two
# threads that write one number, has to be found. The standard library is built with it, so that its
# locks and atomic operations are seen as well. (valgrind's drd is no help here: it takes no atomic
# operation for an order, and reports hundreds of places in the standard library and in rayon.)
# Status 1: something was found, or the control was not; 77: not run, see `sanitized.bash`.
#
#   verify/checks/races.sh         # five minutes, most of them to build
set -euo pipefail
cd "$(dirname "$0")/../.."
source verify/checks/sanitized.bash
# the emulated kernels are C++, which is built without it: they have no threads
export RUST_TEST_THREADS=1 RAYON_NUM_THREADS=4
sanitized races thread 'WARNING: ThreadSanitizer' two_threads_write_one_number 'data race' \
    kernels::gemm kernels::bf16 kernels::few_rows kernels::inplace kernels::threads kernels::elem \
    ops::tests::layers ops::tests::attention
