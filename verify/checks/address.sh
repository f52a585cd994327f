#!/usr/bin/env bash
# Runs the tests of the product in bf16 under AddressSanitizer, which sees memory that is read or
# written beyond its end. (valgrind knows no AVX-512 and would run the form for other processors.) A
# control, a read beyond an end, has to be found.
# Status 1: something was found, or the control was not; 77: not run, the processor has no
# AVX512-BF16, or see `sanitized.bash`.
#
#   verify/checks/address.sh       # five minutes, most of them to build
set -euo pipefail
cd "$(dirname "$0")/../.."
source verify/checks/sanitized.bash
if ! grep -q -m 1 avx512_bf16 /proc/cpuinfo; then
    echo "address: not run, this processor has no AVX512-BF16" >&2
    exit 77
fi
# threads that end while memory is still theirs are not what is looked for
export ASAN_OPTIONS=detect_leaks=0
sanitized address address 'ERROR: AddressSanitizer' an_element_beyond_the_end_is_read \
    heap-buffer-overflow kernels::bf16
