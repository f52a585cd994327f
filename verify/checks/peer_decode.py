#!/usr/bin/env python3
"""The peer for decoding: transformers' greedy `generate` with its cache, random weights in f32.

    python3 peer_decode.py --preset gpt2 --batch 8 --length 64 --new-tokens 40 --device cuda

It does the work of `inducer bench --decode --method none` and prints one line of JSON.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import transformers
from peer_train_step import POSITIONS, PRESETS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="gpt2", choices=PRESETS)
    sizes = (("batch", 8), ("length", 64), ("new-tokens", 40), ("steps", 5), ("seed", 0))
    for name, default in sizes:
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    cuda = a.device.startswith("cuda")
    layers, hidden, heads, vocabulary = PRESETS[a.preset]
    config = transformers.GPT2Config(
        n_layer=layers,
        n_embd=hidden,
        n_head=heads,
        vocab_size=vocabulary,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config).eval().to(a.device)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    ids = torch.randint(1, vocabulary, (a.batch, a.length), device=a.device)

    def once():
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=a.new_tokens,
                min_new_tokens=a.new_tokens,
            )
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    once()
    median = statistics.median(once() for _ in range(a.steps))
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "software": f"torch {torch.__version__}, transformers {transformers.__version__}",
                "method": "none",
                "batch": a.batch,
                "length": a.length,
                "new_tokens": a.new_tokens,
                "decode_ms": round(median * 1e3, 2),
                "tokens_per_s": round(a.batch * a.new_tokens / median, 1),
                "peak_mib": round(peak, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
