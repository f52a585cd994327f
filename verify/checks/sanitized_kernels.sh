#!/usr/bin/env bash
# Runs the tests of the engine with the card's kernels, emulated on the CPU, under AddressSanitizer
# and UndefinedBehaviorSanitizer. Two controls, a kernel that writes one element beyond a tensor's
# end and one that shifts a number by all its bits, must be caught. It needs a GCC with its
# sanitizers. Without a FILTER every kernel, but the controls, must have been launched by some test.
# Cargo builds the engine anew for it, and anew without it afterwards. Status 77: not
# run, since the system does not let AddressSanitizer start.
#
#   verify/checks/sanitized_kernels.sh [FILTER ...]    # tests whose name has a FILTER in it: [all]
set -euo pipefail
cd "$(dirname "$0")/../.."
export INDUCER_SANITIZE_KERNELS=1
# threads that end while memory is still theirs are not what is looked for
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0
asan=$(gcc -print-file-name=libasan.so)
ran=$(cargo test -p inducer-gpu --lib --no-run --message-format=json |
    grep -o '"executable":"[^"]*"' | tail -n 1 | cut -d'"' -f4)
if ! LD_PRELOAD=$asan true; then
    echo "sanitizers: not run, AddressSanitizer does not start here" >&2
    exit 77
fi

# control TEST WORDS WHAT: the test must fail, and with the sanitizer's words.
control() {
    local found
    if found=$(LD_PRELOAD=$asan "$ran" --ignored --exact "kernels::cuda::tests::$1" 2>&1); then
        echo "the control, $3, was not caught" >&2
        exit 1
    fi
    if ! grep -q "$2" <<<"$found"; then
        echo "the control, $3, failed, but not by the sanitizer:" >&2
        echo "$found" >&2
        exit 1
    fi
}

# a kernel's first launch leaves its name there
INDUCER_KERNELS_SEEN=$(mktemp -d)
export INDUCER_KERNELS_SEEN
trap 'rm -rf "$INDUCER_KERNELS_SEEN"' EXIT
LD_PRELOAD=$asan "$ran" "$@"
if [ $# = 0 ]; then
    LD_PRELOAD=$asan "$ran" --ignored --exact \
        kernels::cuda::tests::every_kernel_was_launched_by_a_test
fi
control one_element_beyond_the_end_is_written heap-buffer-overflow \
    "a kernel that writes beyond the end of a tensor"
control a_number_is_shifted_by_all_its_bits 'runtime error: shift exponent' \
    "a kernel that shifts a number by all its bits"
echo "sanitizers: the tests pass, and the controls were caught (heap-buffer-overflow, shift)"
