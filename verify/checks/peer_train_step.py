#!/usr/bin/env python3
"""The peer: a training step of GPT-2 in plain PyTorch, on the work that `inducer bench` does.

    python3 peer_train_step.py --method inducer,lora --preset gpt2 --batch 32 --length 512 \\
        --dtype bf16 --device cuda [--compile]

It needs torch alone, and it prints one line of JSON for each method: median and shortest time of
a step (gradients, clipping to norm 1, AdamW), real (unpadded) tokens a second, peak memory, the
loss, the versions. A method that fails has the field `error` instead.

The peer has what a good PyTorch program has: SDPA's causal kernels (right padding needs no mask),
one product for q, k and v, batches no wider than their longest row, no gradients of frozen weights,
the fused AdamW, autocast in bf16. The inducer's gate needs the log-sum-exp of its row, which SDPA
does not return, so `inducer` writes the scores out, with one softmax over them;
`inducer-authors` is the arithmetic of the authors' code with its second softmax over n + 1 columns;
`inducer-flex` takes both output and log-sum-exp from flex_attention, which wants --compile. A
prefix takes a mask, as its keys stand before the rows.

Row i has length L − (i · 7919 + seed) mod (L / 4), and its last third is labelled. The logits are
those of all positions, as in transformers; with `--head labelled` only those that have a label.
"""

import argparse
import gc
import json
import math
import platform
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# layers, hidden size, heads, vocabulary
PRESETS = {
    "tiny": (4, 128, 4, 4096),
    "mini": (6, 256, 4, 8192),
    "gpt2": (12, 768, 12, 50257),
}
METHODS = ("inducer", "inducer-authors", "inducer-flex", "lora", "prefix", "full")
POSITIONS = 1024
IGNORE = -100
# the paper's sizes on GPT-2 small: LoRA-54, Prefix-108, r_k = 10, r_v = 15
RANK, ALPHA, PREFIX, KEY, VALUE = 54, 32.0, 108, 10, 15


def split_heads(x, heads):
    rows, length, hidden = x.shape
    return x.view(rows, length, heads, hidden // heads).transpose(1, 2)


def merge_heads(x):
    return x.transpose(1, 2).flatten(2)


def small(*shape):
    return nn.Parameter(torch.randn(*shape) * 0.01)


class Plain(nn.Module):
    """Causal attention of the backbone."""

    def forward(self, q, k, v):
        return merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)), None


class Prefix(nn.Module):
    """Keys and values of PREFIX virtual tokens before the row's own."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.k = small(heads, PREFIX, hidden // heads)
        self.v = small(heads, PREFIX, hidden // heads)

    def forward(self, q, k, v):
        rows, _, length, _ = q.shape
        before = [t.to(q.dtype).expand(rows, -1, -1, -1) for t in (self.k, self.v)]
        k, v = torch.cat([before[0], k], 2), torch.cat([before[1], v], 2)
        mask = torch.ones(length, PREFIX + length, dtype=torch.bool, device=q.device)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.tril(PREFIX))
        return merge_heads(out), None


class Inducer(nn.Module):
    """f(q) + λ(q) MLP_v(q), λ(q) = σ(⟨q, q + MLP_k(q)⟩/√p − LSE(q)), by one of three forms."""

    def __init__(self, hidden, heads, form):
        super().__init__()
        self.form, width = form, hidden // heads
        self.key_in, self.key_in_bias = small(heads, width, KEY), small(heads, 1, KEY)
        self.key_out, self.key_out_bias = small(heads, KEY, width), small(heads, 1, width)
        self.value_in, self.value_in_bias = small(heads, width, VALUE), small(heads, 1, VALUE)
        self.value_out, self.value_out_bias = small(heads * VALUE, hidden), small(hidden)

    def score(self, q):
        inner = torch.tanh(q @ self.key_in + self.key_in_bias)
        key = q + inner @ self.key_out + self.key_out_bias
        return (q * key).sum(-1, keepdim=True) / math.sqrt(q.shape[-1])

    def attend(self, q, k, v, own):
        """The attention's output and the gate."""
        if self.form == "inducer-flex":
            out, lse = self.flex(q, k, v, block_mask=self.block_mask, return_lse=True)
            return out, torch.sigmoid(own - lse.unsqueeze(-1))
        length = q.shape[2]
        future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(future, -math.inf)
        if self.form == "inducer-authors":
            gate = torch.softmax(torch.cat([own.to(scores.dtype), scores], -1), -1)[..., :1]
        else:
            gate = torch.sigmoid(own - torch.logsumexp(scores.float(), -1, keepdim=True))
        return torch.softmax(scores, -1) @ v, gate

    def forward(self, q, k, v):
        out, gate = self.attend(q, k, v, self.score(q))
        hidden = gate.to(q.dtype) * torch.tanh(q @ self.value_in + self.value_in_bias)
        return merge_heads(out), merge_heads(hidden) @ self.value_out + self.value_out_bias


class Lora(nn.Module):
    """Updates of q and v, both first products in one."""

    def __init__(self, hidden):
        super().__init__()
        self.a = small(hidden, 2 * RANK)
        self.b_q, self.b_v = small(RANK, hidden), small(RANK, hidden)

    def forward(self, x, q, v):
        low = (x @ self.a) * (ALPHA / RANK)
        return q + low[..., :RANK] @ self.b_q, v + low[..., RANK:] @ self.b_v


class Block(nn.Module):
    def __init__(self, hidden, heads, method):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        for part in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
        self.lora = Lora(hidden) if method == "lora" else None
        if method == "prefix":
            self.attention = Prefix(hidden, heads)
        elif method.startswith("inducer"):
            self.attention = Inducer(hidden, heads, method)
        else:
            self.attention = Plain()

    def forward(self, x):
        normed = self.norm_1(x)
        q, k, v = self.qkv(normed).chunk(3, -1)
        if self.lora is not None:
            q, v = self.lora(normed, q, v)
        attended, beside = self.attention(*(split_heads(t, self.heads) for t in (q, k, v)))
        x = x + self.out(attended)
        if beside is not None:
            x = x + beside
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, preset, method):
        super().__init__()
        layers, hidden, heads, self.vocabulary = PRESETS[preset]
        self.tokens = nn.Embedding(self.vocabulary, hidden)
        self.positions = nn.Embedding(POSITIONS, hidden)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.01)
        self.blocks = nn.ModuleList(Block(hidden, heads, method) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.first = PREFIX if method == "prefix" else 0
        parts = [m for m in self.modules() if isinstance(m, (Inducer, Lora, Prefix))]
        if method != "full":
            self.requires_grad_(False)
            for part in parts:
                part.requires_grad_(True)
        if method == "inducer-flex":
            self.flex_parts = parts

    def prepare(self, length, device):
        """The mask of flex_attention, which all layers share."""
        if hasattr(self, "flex_parts"):
            from torch.nn.attention.flex_attention import create_block_mask, flex_attention

            def causal(_row, _head, query, key):
                return query >= key

            mask = create_block_mask(causal, None, None, length, length, device=device)
            for part in self.flex_parts:
                part.block_mask, part.flex = mask, flex_attention

    def forward(self, ids, targets, chosen):
        """Mean cross-entropy; `chosen` are the positions of the targets, none for all of them."""
        places = torch.arange(self.first, self.first + ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x).flatten(0, 1)
        if chosen is not None:
            x = x[chosen]
        return F.cross_entropy(F.linear(x, self.tokens.weight), targets, ignore_index=IGNORE)


def work(batch, length, seed, vocabulary, head, device):
    """Ids, targets of the next token, their positions (none for all), real tokens."""
    lengths = [length - (i * 7919 + seed) % max(length // 4, 1) for i in range(batch)]
    ids = torch.randint(1, vocabulary, (batch, max(lengths)), device="cpu")
    labels = torch.full_like(ids, IGNORE)
    for i, n in enumerate(lengths):
        labels[i, n - n // 3 : n] = ids[i, n - n // 3 : n]
        ids[i, n:] = 0
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORE).flatten()
    chosen = None
    if head == "labelled":
        chosen = (targets != IGNORE).nonzero().flatten()
        targets, chosen = targets[chosen], chosen.to(device)
    return ids.to(device), targets.to(device), chosen, sum(lengths)


def measure(a, method):
    torch.manual_seed(a.seed)
    cuda = a.device.startswith("cuda")
    length = min(a.length, POSITIONS - PREFIX) if method == "prefix" else a.length
    with torch.device(a.device):
        model = Gpt2(a.preset, method)
    ids, targets, chosen, tokens = work(
        a.batch, length, a.seed, model.vocabulary, a.head, a.device
    )
    model.prepare(ids.shape[1], a.device)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01, fused=cuda)
    run = torch.compile(model, dynamic=False) if a.compile else model
    autocast = torch.autocast(a.device.split(":")[0], torch.bfloat16, enabled=a.dtype == "bf16")
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def step():
        start = time.perf_counter()
        with autocast:
            loss = run(ids, targets, chosen)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        loss = loss.item()
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, loss

    warmup = [step()[0] for _ in range(max(a.warmup, 1))]
    times, losses = zip(*(step() for _ in range(max(a.steps, 1))))
    median = statistics.median(times)
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
        reserved = round(torch.cuda.max_memory_reserved() / 2**20, 1)
    else:
        peak, reserved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, None
    return {
        "length": length,
        "trainable": sum(p.numel() for p in trained),
        "step_ms": round(median * 1e3, 2),
        "step_ms_min": round(min(times) * 1e3, 2),
        "first_step_s": round(warmup[0], 1),
        "tokens_per_s": round(tokens / median, 1),
        "peak_mib": round(peak, 1),
        "reserved_mib": reserved,
        "loss": round(losses[-1], 4),
    }


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="inducer", help="one or more of " + ", ".join(METHODS))
    parser.add_argument("--preset", default="gpt2", choices=PRESETS)
    for name, default in (("batch", 4), ("length", 128), ("steps", 8), ("warmup", 2), ("seed", 0)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--threads", type=int, help="on the CPU [default: torch's]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--head", default="all", choices=("all", "labelled"))
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args()
    a.method = a.method.split(",")
    unknown = [m for m in a.method if m not in METHODS]
    if unknown:
        parser.error(f"--method {unknown[0]}: expected one of {', '.join(METHODS)}")
    return a


def main():
    a = arguments()
    if a.threads:
        torch.set_num_threads(a.threads)
    facts = {
        "software": f"torch {torch.__version__}",
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "preset": a.preset,
        "device": a.device,
        "dtype": a.dtype,
        "form": "compile" if a.compile else "eager",
        "batch": a.batch,
    }
    for method in a.method:
        try:
            found = measure(a, method)
        except Exception as error:  # the next method may still be measured
            lines = str(error).strip().splitlines() or [""]
            found = {"length": a.length, "error": f"{type(error).__name__}: {lines[0][:200]}"}
        print(json.dumps({"method": method, **facts, **found}), flush=True)
        gc.collect()
        if a.compile:
            torch._dynamo.reset()
        if a.device.startswith("cuda"):
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
