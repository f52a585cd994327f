#!/usr/bin/env bash
# Runs the tests of the unsafe code under valgrind's memcheck, which looks for memory that is read
# or written where it is not, or before it was written. A control, a test that reads beyond an end,
# has to be found. (The card's kernels have `sanitized_kernels.sh`: fibres switch stacks, which
# valgrind does not follow. Not run: drd, which takes no atomic operation for an order between
# threads, and so finds races in the standard library and in the test harness, hundreds of them.)
# Status 1: something was found, or the control was not; 77: not run, there is no valgrind.
#
#   verify/checks/valgrind.sh      # a minute once the tests are built
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v valgrind >/dev/null; then
    echo "valgrind: not run, it is not installed" >&2
    exit 77
fi
# what `make test` builds
built=$(cargo test --release --workspace --lib --no-run --message-format=json)

# tests_of CRATE: the program with the tests of a crate's library.
tests_of() {
    grep -o "\"executable\":\"[^\"]*/${1//-/_}-[^\"]*\"" <<<"$built" | tail -n 1 | cut -d'"' -f4
}

# memcheck CRATE FILTER ...: prints how many tests passed under it.
memcheck() {
    local crate=$1 found program
    shift
    program=$(tests_of "inducer-$crate")
    if ! found=$(cd "$crate" && valgrind -q --error-exitcode=9 "$program" "$@" 2>&1); then
        echo "$found" >&2
        echo "valgrind: memcheck found something in $crate" >&2
        exit 1
    fi
    printf 'memcheck  %-8s %3d passed: %s\n' "$crate" \
        "$(grep -o '[0-9]* passed' <<<"$found" | grep -o '[0-9]*')" "$*"
}

memcheck gpu kernels::gemm kernels::few_rows kernels::inplace kernels::threads files::
memcheck reports memory::
control=an_element_beyond_the_end_is_read
if found=$(cd gpu && valgrind -q --error-exitcode=9 "$(tests_of inducer-gpu)" \
    --ignored --exact "kernels::gemm::tests::$control" 2>&1); then
    echo "valgrind: memcheck did not find the control" >&2
    exit 1
fi
if ! grep -q 'Invalid read of size 8' <<<"$found"; then
    echo "$found" >&2
    exit 1
fi
echo "memcheck  gpu      the control was found: $control"
