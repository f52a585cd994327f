#!/usr/bin/env bash
# The README's picture of `inducer explain`: prefix beside inducer on an entry of WebNLG's test
# part, as Chromium shows the page at 1280 pixels. From the top of the repository:
#
# reports/results/explain.sh BACKBONE WEBNLG RUNS ENTRY        # writes reports/results/explain.png
# reports/results/explain.sh BACKBONE WEBNLG RUNS ENTRY OUT.png HEIGHT
#
# Further arguments go to the command, as `--layers 1,4,8 --heads 1,4,8` do. RUNS is what `inducer
# report --data WEBNLG --backbone BACKBONE` leaves under its --out as runs/.
set -euo pipefail
cd "$(dirname "$0")/../.."
backbone=$1 data=$2 runs=$3 entry=$4
out=${5:-reports/results/explain.png}
height=${6:-2000}

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
cargo run --quiet --release --bin inducer -- explain --backbone "$backbone" --data "$data" \
    --entry "$entry" --adapter "$runs/prefix-seed1/best" --compare "$runs/inducer-seed1/best" \
    --out "$pages/explain.html" "${@:7}"

# As root (in a container) Chromium starts without its sandbox only; the page is our own.
chromium --headless --no-sandbox --hide-scrollbars --force-color-profile=srgb \
    --virtual-time-budget=10000 --window-size="1280,$height" \
    --screenshot="$PWD/explain-shot.png" "file://$pages/explain.html"
mv explain-shot.png "$out"
