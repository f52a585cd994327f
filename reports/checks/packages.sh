#!/usr/bin/env bash
# Packs every crate as `cargo publish` would, unpacks the archives as a workspace of their own
# outside of this checkout, and builds and tests what they hold, each against the others' archives.
#
#     reports/checks/packages.sh [ARGUMENTS OF cargo test]     e.g. --no-run
#
# CARGO_TARGET_DIR may be this checkout's: dependencies are then not built again.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CARGO_TARGET_DIR="$work/packed" cargo package --workspace --no-verify --allow-dirty --quiet
mkdir "$work/crates"
for archive in "$work"/packed/package/*.crate; do
    tar -xzf "$archive" -C "$work/crates"
    echo "packages: $(basename "$archive"): $(du -k "$archive" | cut -f1) KiB" >&2
done

cd "$work/crates"
{
    echo '[workspace]'
    echo 'resolver = "3"'
    echo 'members = ["inducer-*"]'
    echo '[patch.crates-io]'
    for crate in inducer-*; do echo "${crate%-*} = { path = \"$crate\" }"; done
    # profiles belong to a workspace; with the same ones dependencies are the same
    sed -n '/^\[profile/,$p' "$root/Cargo.toml"
} >Cargo.toml
cp "$root/Cargo.lock" .
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
cargo test --release --workspace --no-fail-fast "$@"
