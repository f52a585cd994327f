#!/usr/bin/env bash
# A crate of one's own around a variant, from the template verify/examples/my_variant.
#
#     verify/checks/variant.sh DIR    makes the crate DIR, which must not be there yet
#     verify/checks/variant.sh        makes one elsewhere, does there what CONTRIBUTING.md says,
#                                     with few cases and steps, and removes it; --profile dev
#                                     builds with that profile
#
# The crate builds into this checkout's target directory, with its lock file and its profiles, so
# crates from elsewhere that were built here are not built again.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}

make_crate() {
    local dir=$1 name
    name=$(basename "$dir" | tr '[:upper:]_ ' '[:lower:]--')
    if [ -e "$dir" ]; then
        echo "variant: $dir is there already; give another DIR" >&2
        exit 1
    fi
    mkdir -p "$dir/src" "$dir/.cargo"
    cp verify/examples/my_variant/src/*.rs "$dir/src/"
    sed -e "s|\"../../../|\"$root/|" -e "s|^name = .*|name = \"$name\"|" \
        -e '1,2d' verify/examples/my_variant/Cargo.toml >"$dir/Cargo.toml"
    { echo && sed -n '/^\[profile/,$p' Cargo.toml; } >>"$dir/Cargo.toml"
    cp Cargo.lock "$dir/"
    printf '[build]\ntarget-dir = "%s"\n' "$target" >"$dir/.cargo/config.toml"
    printf '/out*\n' >"$dir/.gitignore"
}

case ${1:-} in
    '') set -- --release ;;
    --*) ;;
    *)
        make_crate "$1"
        echo "$1: a crate with the variant two-inducers, to be changed; in it:"
        echo "  cargo run --release -- verify --claim two-inducers --cases 30"
        echo "  cargo run --release -- report --methods prefix,inducer,two-inducers --no-long"
        exit
        ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make_crate "$work/my_variant"
cd "$work/my_variant"
unset CARGO_TARGET_DIR
start=$SECONDS
cargo build "$@"
echo "variant: built in $((SECONDS - start)) s"
run() { cargo run --quiet "$@"; }
run "$@" -- verify --claim two-inducers --cases 2 >claims.txt
run "$@" -- report --quick --no-long --methods none,inducer,two-inducers --steps 4 \
    --test-limit 4 --max-new-tokens 8 --out out
for file in claims.txt out/report.md; do
    grep -q 'two-inducers\|Two inducers' "$file" ||
        { echo "variant: $file does not have it" >&2 && exit 1; }
done
grep -q 'Inducer-tuning → Two inducers' out/report.md
echo "variant: checked, trained and reported in $((SECONDS - start)) s"
