#!/usr/bin/env bash
# Runs the tests of the card's kernels, emulated on the CPU, under AddressSanitizer and
# UndefinedBehaviorSanitizer. The control, a kernel that writes one element beyond a tensor's end,
# must be caught. It needs a GCC with its sanitizers, and builds in a target folder of its own.
#
#   verify/checks/sanitized_kernels.sh [FILTER]        # tests whose name contains FILTER: [ops::]
set -euo pipefail
cd "$(dirname "$0")/../.."
export INDUCER_SANITIZE_KERNELS=1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/sanitized
# threads that end while memory is still theirs are not what is looked for
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
ran=$(cargo test -p inducer-gpu --lib --no-run --message-format=json |
    grep -o '"executable":"[^"]*"' | tail -n 1 | cut -d'"' -f4)
asan=$(gcc -print-file-name=libasan.so)
LD_PRELOAD=$asan "$ran" "${1:-ops::}"
if found=$(LD_PRELOAD=$asan "$ran" --ignored --exact \
    kernels::cuda::tests::one_element_beyond_the_end_is_written 2>&1); then
    echo "the control, a kernel that writes beyond the end of a tensor, was not caught" >&2
    exit 1
fi
if ! grep -q 'heap-buffer-overflow' <<<"$found"; then
    echo "the control failed, but not by the sanitizer:" >&2
    echo "$found" >&2
    exit 1
fi
echo "sanitizers: the tests pass, and the control was caught (heap-buffer-overflow)"
