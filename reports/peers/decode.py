#!/usr/bin/env python3
"""The peer for decoding: transformers' greedy `generate` with its cache.

It takes the prompts that `inducer bench --decode` writes.

    python3 decode.py --backbone DIR --prompts FILE.json --new-tokens 40 --steps 5 --threads 2

Prints one JSON line: median time, new tokens a second, and the new tokens of each row, so that both
sides can be compared.
"""

import argparse, json, resource, statistics, time
import torch, transformers
from transformers import GPT2LMHeadModel


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--backbone", required=True)
    ap.add_argument("--prompts", required=True)
    for name, default in (("new-tokens", 40), ("steps", 5), ("threads", 2)):
        ap.add_argument("--" + name, type=int, default=default)
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    model = GPT2LMHeadModel.from_pretrained(a.backbone, attn_implementation="sdpa").eval()
    with open(a.prompts) as f:
        ids = torch.tensor(json.load(f))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def once():
        with torch.inference_mode():
            return model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=a.new_tokens,
            )

    once()
    times = []
    for _ in range(a.steps):
        t = time.perf_counter()
        out = once()
        times.append(time.perf_counter() - t)
    med = statistics.median(times)
    print(json.dumps({
        "software": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "batch": len(ids), "length": ids.shape[1], "new_tokens": a.new_tokens,
        "decode_ms": round(med * 1e3, 2), "decode_ms_min": round(min(times) * 1e3, 2),
        "tokens_per_s": round(len(ids) * a.new_tokens / med, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "ids": out[:, ids.shape[1]:].tolist(),
    }))


if __name__ == "__main__":
    main()
