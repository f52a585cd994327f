#!/usr/bin/env bash
# Runs the tests of the unsafe code under valgrind: memcheck looks for memory that is read or written
# where it is not, or before it was written; drd for two threads at the same memory without an order
# between them. A control of each, a test that does what it must not, has to be found. (The card's
# kernels have `sanitized_kernels.sh`: fibres switch stacks, which valgrind does not follow.)
# Status 1: something was found, or a control was not; 77: not run, there is no valgrind.
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

# under TOOL CRATE FILTER ...: prints how many tests passed under it.
under() {
    local tool=$1 crate=$2 found program
    shift 2
    program=$(tests_of "inducer-$crate")
    if ! found=$(cd "$crate" && valgrind -q --tool="$tool" --error-exitcode=9 "$program" "$@" 2>&1); then
        echo "$found" >&2
        echo "valgrind: $tool found something in $crate" >&2
        exit 1
    fi
    printf '%-9s %-8s %s passed: %s\n' "$tool" "$crate" \
        "$(grep -o '[0-9]* passed' <<<"$found" | grep -o '[0-9]*')" "$*"
}

# control TOOL WORDS TEST: the tool has to find something in it, in these words.
control() {
    local found
    if found=$(cd gpu && valgrind -q --tool="$1" --error-exitcode=9 "$(tests_of inducer-gpu)" \
        --ignored --exact "kernels::gemm::tests::$3" 2>&1); then
        echo "valgrind: $1 did not find the control $3" >&2
        exit 1
    fi
    grep -q "$2" <<<"$found" || { echo "$found" >&2 && exit 1; }
    printf '%-9s %-8s the control was found: %s\n' "$1" gpu "$3"
}

under memcheck gpu kernels::gemm kernels::few_rows kernels::inplace kernels::threads files::
under memcheck reports memory::
under drd gpu pieces_are_those_of_threads_that_are_started_and_joined
under drd reports memory::
control memcheck 'Invalid read of size 8' an_element_beyond_the_end_is_read
control drd 'Conflicting store' two_threads_write_the_same_part
