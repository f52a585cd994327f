#!/usr/bin/env bash
# The picture of the README: the top of a report's page, from webnlg-29m.json, as Chromium shows it
# at 1280 pixels. From the top of the repository:
#
#     reports/results/screenshot.sh                  # writes reports/results/report.png
#     reports/results/screenshot.sh OUT.png HEIGHT   # 1660 is the page as far as the steps
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-reports/results/report.png}
height=${2:-1660}

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
cargo run --quiet -p inducer-reports --example page -- reports/results/webnlg-29m.json "$pages"

# As root (in a container) Chromium starts without its sandbox only; the page is our own.
chromium --headless --no-sandbox --hide-scrollbars --force-color-profile=srgb \
    --window-size="1280,$height" --screenshot="$PWD/report-shot.png" "file://$pages/report.html"
mv report-shot.png "$out"
