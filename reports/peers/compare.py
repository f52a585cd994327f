#!/usr/bin/env python3
"""Both programs in turn on the same work (A B A B …), and the ratios.

    pip install torch transformers peft
    make bench-peers                                   # or: python3 reports/peers/compare.py --help

Each case is a training step of one method on one preset; every round runs the engine once and the
peer once in each of its forms, in fresh processes, so that drift of the machine hits both. The
ratio of a case is the median over rounds of engine tokens/s divided by the peer's tokens/s in the
form of the peer that is fastest by its median; memory is the engine's peak over the peer's smallest
peak. `--out NAME` also writes NAME.md and NAME.json. The peer's `torch.compile` form takes part
with `--compile`. `--dtype bf16` trains in mixed precision on both sides, and beside the engine's
own f32.
"""

import argparse, importlib.util, json, os, platform, statistics, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# preset, batch, length, steps of one run
WORK = {"tiny": (16, 96, 12), "mini": (8, 128, 8), "gpt2": (4, 128, 3)}
# times that one run decodes
DECODED = "3"
FORMS = {
    "inducer": ["inducer", "inducer-authors"],
    "lora": ["lora"],
    "prefix": ["prefix"],
    "adapter": ["adapter"],
    "full": ["full"],
}


def one(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def spread(values):
    return f"{min(values):.2f}–{max(values):.2f}"


def train_case(a, preset, method):
    batch, length, steps = WORK[preset]
    common = [
        "--preset",
        preset,
        "--batch",
        str(batch),
        "--length",
        str(length),
        "--steps",
        str(steps),
        "--threads",
        str(a.threads),
    ]
    typed = ["--dtype", a.dtype]
    forms = [(f, []) for f in FORMS[method]] + ([(method, ["--compile"])] if a.compile else [])
    ours, single, theirs = [], [], {f"{f} {' '.join(x)}".strip(): [] for f, x in forms}
    for _ in range(a.rounds):
        ours.append(one([a.engine, "bench", "--method", method, "--json", *common, *typed]))
        if a.dtype != "f32":
            single.append(one([a.engine, "bench", "--method", method, "--json", *common]))
        for f, x in forms:
            peer = [a.python, os.path.join(HERE, "train_step.py"), "--method", f]
            theirs[f"{f} {' '.join(x)}".strip()].append(one([*peer, *common, *typed, *x]))
    rate = {k: statistics.median(r["tokens_per_s"] for r in v) for k, v in theirs.items()}
    best = max(rate, key=rate.get)
    ratios = [o["tokens_per_s"] / t["tokens_per_s"] for o, t in zip(ours, theirs[best])]
    memory = statistics.median(o["peak_mib"] for o in ours) / min(
        r["peak_mib"] for v in theirs.values() for r in v
    )
    own = [o["tokens_per_s"] / s["tokens_per_s"] for o, s in zip(ours, single)]
    return {
        "case": f"train {preset} {method}" + (f" {a.dtype}" if own else ""),
        "batch": batch,
        "length": length,
        "peer_form": best,
        "speed_ratio": round(statistics.median(ratios), 2),
        "speed_range": spread(ratios),
        "over_own_f32": round(statistics.median(own), 2) if own else "",
        "memory_ratio": round(memory, 2),
        "engine_step_ms": statistics.median(o["step_ms"] for o in ours),
        "peer_step_ms": statistics.median(t["step_ms"] for t in theirs[best]),
        "engine_peak_mib": statistics.median(o["peak_mib"] for o in ours),
        "peer_peak_mib": min(r["peak_mib"] for v in theirs.values() for r in v),
        "share_of_product_rate": statistics.median(o["share"] for o in ours),
        "engine_trainable": ours[0]["trainable"],
        "peer_trainable": theirs[best][0]["trainable"],
    }


def decode_case(a, preset):
    """Greedy decoding of the same prompts with the same (random) backbone on both sides."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel
    spec = importlib.util.spec_from_file_location("train_step", os.path.join(HERE, "train_step.py"))
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    layers, d, heads, vocab = peer.PRESETS[preset]
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers,
        n_embd=d,
        n_head=heads,
        vocab_size=vocab,
        n_positions=1024,
        bos_token_id=0,
        eos_token_id=0,
    )
    batch, length, new = 8, 64, 40
    with tempfile.TemporaryDirectory() as folder:
        GPT2LMHeadModel(config).save_pretrained(folder)
        prompts = os.path.join(folder, "prompts.json")
        ours, inducer, theirs = [], [], []
        common = [
            "--decode",
            "--backbone",
            folder,
            "--batch",
            str(batch),
            "--length",
            str(length),
            "--new-tokens",
            str(new),
            "--steps",
            DECODED,
            "--threads",
            str(a.threads),
            "--json",
        ]
        for _ in range(a.rounds):
            ours.append(
                one([a.engine, "bench", "--method", "none", "--prompts-out", prompts, *common])
            )
            inducer.append(one([a.engine, "bench", "--method", "inducer", *common]))
            theirs.append(
                one(
                    [
                        a.python,
                        os.path.join(HERE, "decode.py"),
                        "--backbone",
                        folder,
                        "--prompts",
                        prompts,
                        "--new-tokens",
                        str(new),
                        "--steps",
                        DECODED,
                        "--threads",
                        str(a.threads),
                    ]
                )
            )
    same = sum(x == y for r, s in zip(ours[0]["ids"], theirs[0]["ids"]) for x, y in zip(r, s)) / (
        batch * new
    )
    ratios = [o["tokens_per_s"] / t["tokens_per_s"] for o, t in zip(ours, theirs)]
    extra = [i["decode_ms"] / o["decode_ms"] - 1 for i, o in zip(inducer, ours)]
    return {
        "case": f"decode {preset}",
        "batch": batch,
        "length": length,
        "new_tokens": new,
        "same_tokens": same,
        "speed_ratio": round(statistics.median(ratios), 2),
        "speed_range": spread(ratios),
        "inducer_overhead": round(statistics.median(extra), 3),
        "memory_ratio": round(
            statistics.median(o["peak_mib"] for o in ours) / min(t["peak_mib"] for t in theirs), 2
        ),
    }


def against_full(a, preset):
    """Parameter-efficient steps against this engine's own full fine-tuning."""
    batch, length, steps = WORK[preset]
    common = [
        "--preset",
        preset,
        "--batch",
        str(batch),
        "--length",
        str(length),
        "--steps",
        str(steps),
        "--threads",
        str(a.threads),
        "--json",
    ]
    full, part = [], {m: [] for m in ("inducer", "lora", "prefix")}
    for _ in range(a.rounds):
        full.append(one([a.engine, "bench", "--method", "full", *common]))
        for m, runs in part.items():
            runs.append(one([a.engine, "bench", "--method", m, *common]))
    rows = []
    for m, runs in part.items():
        ratios = [p["tokens_per_s"] / f["tokens_per_s"] for p, f in zip(runs, full)]
        rows.append(
            {
                "case": f"{preset} {m} / own full",
                "speed_ratio": round(statistics.median(ratios), 2),
                "speed_range": spread(ratios),
                "memory_ratio": round(
                    statistics.median(p["peak_mib"] for p in runs)
                    / statistics.median(f["peak_mib"] for f in full),
                    2,
                ),
            }
        )
    return rows


def growth(a):
    """Peak memory at length 1024 over that at length 512 (gpt2, one row)."""
    peak = {
        n: one(
            [
                a.engine,
                "bench",
                "--preset",
                "gpt2",
                "--batch",
                "2",
                "--length",
                str(n),
                "--steps",
                "1",
                "--warmup",
                "1",
                "--threads",
                str(a.threads),
                "--json",
            ]
        )["peak_mib"]
        for n in (512, 1024)
    }
    return {"case": "memory gpt2 1024 / 512", "memory_ratio": round(peak[1024] / peak[512], 2)}


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--engine", default="target/release/inducer")
    ap.add_argument("--python", default=sys.executable)
    ap.add_argument("--presets", default="tiny,mini,gpt2")
    ap.add_argument("--methods", default="inducer,lora,prefix,adapter")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--compile", action="store_true", help="the peer's torch.compile form as well")
    ap.add_argument(
        "--dtype", default="f32", choices=["f32", "bf16"], help="of training; the peer by autocast"
    )
    ap.add_argument("--only", default="train,full,decode,growth")
    ap.add_argument("--out", help="NAME: write NAME.md and NAME.json")
    a = ap.parse_args()
    try:
        import peft, torch, transformers
    except ImportError as e:
        sys.exit(
            f"not run: {e.name} is missing (pip install torch transformers peft, "
            "or make bench-peers PYTHON=path/to/python)"
        )
    presets, only, rows = a.presets.split(","), a.only.split(","), []

    def say(row):
        rows.append(row)
        print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)

    for preset in presets:
        for method in a.methods.split(",") if "train" in only else []:
            say(train_case(a, preset, method))
        for row in against_full(a, preset) if "full" in only else []:
            say(row)
        if "decode" in only:
            say(decode_case(a, preset))
    if "growth" in only and "gpt2" in presets:
        say(growth(a))
    if a.out:
        write(
            a,
            rows,
            {
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "peft": peft.__version__,
                "python": platform.python_version(),
            },
        )


def write(a, rows, versions):
    with open(a.out + ".json", "w") as f:
        json.dump(
            {
                "command": " ".join(["compare.py", *sys.argv[1:]]),
                "versions": versions,
                "threads": a.threads,
                "rounds": a.rounds,
                "rows": rows,
            },
            f,
            indent=1,
        )
        f.write("\n")
    keys = [
        "case",
        "speed_ratio",
        "speed_range",
        "over_own_f32",
        "memory_ratio",
        "engine_step_ms",
        "peer_step_ms",
        "engine_peak_mib",
        "peer_peak_mib",
        "share_of_product_rate",
        "peer_form",
        "same_tokens",
        "inducer_overhead",
    ]
    with open(a.out + ".md", "w") as f:
        f.write(
            "| "
            + " | ".join(k.replace("_", " ") for k in keys)
            + " |\n|"
            + "---|" * len(keys)
            + "\n"
        )
        for r in rows:
            f.write("| " + " | ".join(str(r.get(k, "")) for k in keys) + " |\n")
        f.write(
            f"\n{a.rounds} rounds, {a.threads} threads; "
            + ", ".join(f"{k} {v}" for k, v in versions.items())
            + "\n"
        )


if __name__ == "__main__":
    main()
