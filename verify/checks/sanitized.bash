# What races.sh and address.sh have in common: tests of the engine under a sanitizer of rustc's, with
# the standard library built under it too.

# sanitized NAME KIND WORDS CONTROL FOUND TEST ...: the tests must pass without the sanitizer's
# WORDS; of the CONTROL, an ignored test of kernels::gemm, it must say WORDS and FOUND. Leaves with
# 77 where there is no nightly compiler with the library's source (rustup toolchain install nightly;
# rustup component add rust-src --toolchain nightly), and with 1 where something was found, or the
# control was not.
sanitized() {
    local name=$1 kind=$2 words=$3 control=$4 expected="$3: $5" found passed target
    shift 5
    if ! rustup component list --toolchain nightly 2>/dev/null |
        grep -q '^rust-src (installed)'; then
        echo "$name: not run, there is no nightly compiler with rust-src" >&2
        exit 77
    fi
    target=$(rustc -vV | sed -n 's/^host: //p')
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/$name} RUSTFLAGS=-Zsanitizer=$kind
    tests() {
        cargo +nightly test -q -Zbuild-std --target "$target" --release \
            -p inducer-gpu --lib -- "$@" 2>&1
    }
    if ! found=$(tests "$@") || grep -q "$words" <<<"$found"; then
        echo "$found" >&2
        echo "$name: the sanitizer found something" >&2
        exit 1
    fi
    passed=$(grep -o '[0-9]* passed' <<<"$found")
    if [ "$passed" = "0 passed" ]; then
        echo "$name: none of the tests is there: $*" >&2
        exit 1
    fi
    printf '%-8s gpu      %s\n' "$name" "$passed"
    found=$(tests --ignored --exact "kernels::gemm::tests::$control") || true
    if ! grep -q "$expected" <<<"$found"; then
        echo "$found" >&2
        echo "$name: the sanitizer did not find the control, $control" >&2
        exit 1
    fi
    printf '%-8s gpu      the control, %s, was found\n' "$name" "$control"
}
