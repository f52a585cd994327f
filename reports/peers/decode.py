#!/usr/bin/env python3
"""The peer for decoding: transformers' greedy `generate` with its cache, in f32.

It takes a backbone and the prompts that `inducer bench --decode` writes, or does the work of
`inducer bench --decode --method none` on random weights and prompts of its own.

    python3 decode.py --backbone DIR --prompts FILE.json --new-tokens 40 --steps 5 --threads 2
    python3 decode.py --preset gpt2 --batch 8 --length 64 --new-tokens 40 --device cuda

Prints one JSON line: median time, new tokens a second, and of given prompts the new tokens of each
row, so that both sides can be compared.
"""

import argparse, json, resource, statistics, time
import torch, transformers
from train_step import POSITIONS, PRESETS
from transformers import GPT2Config, GPT2LMHeadModel


def random_model(preset):
    layers, d, heads, vocab = PRESETS[preset]
    config = GPT2Config(
        n_layer=layers,
        n_embd=d,
        n_head=heads,
        vocab_size=vocab,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel._from_config(config, attn_implementation="sdpa")


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--backbone")
    ap.add_argument("--prompts")
    ap.add_argument("--preset", default="gpt2", choices=PRESETS)
    for name, default in (
        ("batch", 8),
        ("length", 64),
        ("new-tokens", 40),
        ("steps", 5),
        ("seed", 0),
    ):
        ap.add_argument("--" + name, type=int, default=default)
    ap.add_argument("--threads", type=int, help="on the CPU [default: torch's]")
    ap.add_argument("--device", default="cpu")
    a = ap.parse_args()
    if (a.backbone is None) != (a.prompts is None):
        ap.error("--backbone and --prompts belong together")
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    cuda = a.device != "cpu"
    if a.backbone:
        model = GPT2LMHeadModel.from_pretrained(a.backbone, attn_implementation="sdpa")
        with open(a.prompts) as f:
            ids = torch.tensor(json.load(f))
    else:
        model = random_model(a.preset)
        ids = torch.randint(1, PRESETS[a.preset][3], (a.batch, a.length))
    model, ids = model.eval().to(a.device), ids.to(a.device)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0

    def once():
        start = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=a.new_tokens,
            )
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, out

    once()
    times = []
    for _ in range(a.steps):
        took, out = once()
        times.append(took)
    med = statistics.median(times)
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    new = {"ids": out[:, ids.shape[1]:].tolist()} if a.backbone else {}
    print(json.dumps({
        "software": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "device": a.device, "batch": len(ids), "length": ids.shape[1], "new_tokens": a.new_tokens,
        "decode_ms": round(med * 1e3, 2), "decode_ms_min": round(min(times) * 1e3, 2),
        "tokens_per_s": round(len(ids) * a.new_tokens / med, 1),
        "peak_mib": round(peak, 1), **new,
    }))


if __name__ == "__main__":
    main()
