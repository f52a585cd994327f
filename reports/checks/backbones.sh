#!/usr/bin/env bash
# Pretrains the embedded backbones again: reports/checks/backbones.sh [BINARY]
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${1:-target/release/inducer}

# folder, what it was pretrained on, and how much of it
while read -r name text bytes; do
    out=reports/backbones/$name
    # the settings stand in the file that the command wrote
    mapfile -t options < <(python3 - "$out/pretraining.json" <<'END'
import json
import sys

for name, value in json.load(open(sys.argv[1]))["config"].items():
    print("--" + name.replace("_", "-"), value, sep="\n")
END
    )
    rm -rf "$out"
    "$binary" pretrain "--$text" "$bytes" --out "$out" "${options[@]}"
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
done <<'END'
gpt2 prose 4000000
conversations conversations 16000000
roberta prose 4000000
END
