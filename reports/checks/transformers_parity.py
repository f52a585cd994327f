#!/usr/bin/env python3
"""Whether transformers loads a directory that `inducer pretrain` wrote and computes the same.

    pip install torch transformers safetensors
    python3 transformers_parity.py path/to/inducer BACKBONE TEXT

AutoTokenizer's tokens of every paragraph of TEXT must give it back, and the logits of `inducer
forward` (f32) must be GPT2LMHeadModel's within 1e-4. Exit status 1 otherwise.
"""

import json, pathlib, random, subprocess, sys, tempfile

import torch
import transformers
from safetensors.torch import load_file

binary, backbone, text = sys.argv[1:4]
tokenizer = transformers.AutoTokenizer.from_pretrained(backbone)
model = transformers.GPT2LMHeadModel.from_pretrained(backbone).eval()
paragraphs = pathlib.Path(text).read_text().split("\n\n")[:200]
ids = [tokenizer(p)["input_ids"] for p in paragraphs]
assert all(
    tokenizer.decode(i, clean_up_tokenization_spaces=False) == p for i, p in zip(ids, paragraphs)
), "tokens do not give the text back"
rows = [i[:64] for i in ids if len(i) >= 64][:8] or [
    [random.Random(1).randrange(model.config.vocab_size) for _ in range(64)] for _ in range(8)
]
with tempfile.TemporaryDirectory() as tmp:
    batch, out = pathlib.Path(tmp, "batch.json"), pathlib.Path(tmp, "out.safetensors")
    batch.write_text(json.dumps({"input_ids": rows, "labels": rows}))
    subprocess.run(
        [binary, "forward", "--backbone", backbone, "--batch", batch, "--out", out],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ours = load_file(out)
with torch.no_grad():
    theirs = model(torch.tensor(rows), labels=torch.tensor(rows))
apart = (ours["logits"] - theirs.logits).abs().max().item()
print(
    json.dumps(
        {
            "transformers": transformers.__version__,
            "rows": len(rows),
            "tokens_a_row": 64,
            "largest_logit_difference": apart,
            "loss": ours["loss"].item(),
            "their_loss": theirs.loss.item(),
        }
    )
)
sys.exit(apart > 1e-4)
