#!/usr/bin/env bash
# Fuzzes every parser of datasets, gpu and reference with libFuzzer, one target after the other, and
# prints a line for each. What has been found stays in fuzz/grown (git does not have it), so a later
# run goes on from there. It needs a nightly compiler and cargo-fuzz (`cargo install cargo-fuzz
# --locked`). Status 1: a target crashed, hung for 10 s or took 2 GiB; 77: not run, since one of the two is
# missing.
#
#   verify/checks/fuzz.sh [SECONDS] [TARGET ...]     # [3600] for each target: [all]
#   verify/checks/fuzz.sh --list                     # the targets
#   verify/checks/fuzz.sh --minimise [TARGET ...]    # fuzz/grown and seeds into fuzz/corpus
#
#   SANITIZER=none    builds without AddressSanitizer, which finds less and is twice as fast
set -euo pipefail
cd "$(dirname "$0")/../.."
sanitizer=${SANITIZER:-address}
# the corpus of all targets together has at most 200 KB
most_bytes=7500

targets() {
    for crate in datasets gpu reference; do
        sed -n 's/^    ("\([a-z0-9_]*\)", .*/\1/p' "$crate/fuzz/src/lib.rs" | sed "s|^|$crate |"
    done
}

action=run seconds=3600
case "${1:-}" in
    --list)
        targets | cut -d' ' -f2
        exit
        ;;
    --minimise) action=minimise && shift ;;
    [0-9]*) seconds=$1 && shift ;;
esac
chosen=$(targets)
if [ $# -gt 0 ]; then
    for name in "$@"; do
        if ! grep -q " $name\$" <<<"$chosen"; then
            echo "fuzz: no target is called $name; --list has them" >&2
            exit 2
        fi
    done
    chosen=$(grep -E " ($(IFS='|' && echo "$*"))\$" <<<"$chosen")
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "fuzz: not run, there is no nightly compiler or no cargo-fuzz" >&2
    exit 77
fi

temporary=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf "$temporary"' EXIT
export TMPDIR=$temporary
# a library's memory that is still held at the end is not what is looked for
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1}
limits=(-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=2048 -detect_leaks=0)

# one for all crates, which have most of their dependencies in common
built_in=$PWD/target/fuzz
built=
# build CRATE: its targets, once.
build() {
    if [ "$built" != "$1" ]; then
        (cd "$1" && cargo +nightly fuzz build --sanitizer "$sanitizer" \
            --target-dir "$built_in") </dev/null
        programs=$built_in/$(rustc +nightly -vV | sed -n 's/^host: //p')/release
        built=$1
    fi
}

# last PATTERN FILE: the last number behind a word of libFuzzer's.
last() {
    grep -o "$1 *[0-9]*" "$2" | tail -n 1 | grep -o '[0-9]*$' || echo 0
}

# run CRATE TARGET
run() {
    local folder=$1/fuzz log grown found result=fine
    log=$folder/grown/$2.log grown=$folder/grown/$2 found=$folder/artifacts/$2
    mkdir -p "$grown" "$found" "$folder/corpus/$2"
    local others=("$folder/corpus/$2")
    [ -d "$folder/seeds/$2" ] && others+=("$folder/seeds/$2")
    "$programs/$2" "$grown" "${others[@]}" -artifact_prefix="$found/" "${limits[@]}" \
        -max_total_time="$seconds" -print_final_stats=1 >"$log" 2>&1 || result=FAILED
    local at_first
    at_first=$(grep INITED "$log" | grep -o 'cov: *[0-9]*' | grep -o '[0-9]*$' || echo 0)
    if [ $result = FAILED ]; then
        result="FAILED: $(grep -m 1 -E 'panicked at|SUMMARY|ERROR' "$log" || tail -n 1 "$log")"
        failed=1
    fi
    printf '%-18s %10d runs %6d s   coverage %6d (+%d)   %s\n' "$2" \
        "$(last 'number_of_executed_units:' "$log")" \
        "$(grep -o 'in [0-9]* second' "$log" | grep -o '[0-9]*' || echo 0)" \
        "$(last 'cov:' "$log")" "$(($(last 'cov:' "$log") - at_first))" "$result"
}

# minimise CRATE TARGET: the fewest files that reach what all reach, the smallest first, as far as
# there is room for them.
minimise() {
    local folder=$1/fuzz all=$temporary/$2 kept=0
    mkdir -p "$all" "$folder/corpus/$2"
    local from=("$folder/corpus/$2")
    for others in "$folder/seeds/$2" "$folder/grown/$2"; do
        [ -d "$others" ] && from+=("$others")
    done
    "$programs/$2" "$all" "${from[@]}" -set_cover_merge=1 "${limits[@]}" >/dev/null 2>&1
    rm -rf "${folder:?}/corpus/$2"
    mkdir -p "$folder/corpus/$2"
    while read -r size file; do
        kept=$((kept + size))
        [ "$kept" -le "$most_bytes" ] && cp "$all/$file" "$folder/corpus/$2/$file"
    done < <(find "$all" -type f -printf '%s %f\n' | sort -n)
    printf '%-18s %4d files %6d bytes\n' "$2" "$(find "$folder/corpus/$2" -type f | wc -l)" \
        "$(find "$folder/corpus/$2" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')"
}

failed=0
while read -r crate target; do
    build "$crate"
    "$action" "$crate" "$target"
done <<<"$chosen"
exit $failed
