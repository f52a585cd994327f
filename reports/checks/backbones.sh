#!/usr/bin/env bash
# Pretrains the embedded backbones again: reports/checks/backbones.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-target/release/inducer}
common="--prose 4000000 --vocabulary 1536 --layers 3 --hidden 128 --heads 4 --save-dtype bf16"

pretrain() {
    local out=reports/backbones/$1
    shift
    rm -rf "$out"
    # shellcheck disable=SC2086
    "$binary" pretrain $common --out "$out" "$@"
    # seconds are of this machine, and a tenth of a megabyte of steps would be read by nobody
    python3 - "$out/pretraining.jsonl" <<'END'
import json
import sys

kept = []
for line in open(sys.argv[1]):
    event = json.loads(line)
    event.pop("seconds", None)
    step = event["step"]
    if "validation_loss" in event or step <= 10 or step % 200 == 0:
        kept.append(json.dumps(event, separators=(",", ":")))
open(sys.argv[1], "w").write("\n".join(kept) + "\n")
END
}

pretrain gpt2 --positions 384 --length 384 --batch-size 4 --steps 4000 --learning-rate 2e-3
pretrain roberta --kind roberta --positions 128 --length 128 --batch-size 16 --steps 6000 \
    --learning-rate 2e-3
