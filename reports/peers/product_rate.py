#!/usr/bin/env python3
"""The device's own rate of square matrix products in PyTorch, bf16 and f32 (TF32 off).

    python3 product_rate.py --device cuda --size 8192

One line of JSON: size and TFLOP/s of each scalar type, the median over `--repeats` products.
"""

import argparse
import json
import statistics
import time

import torch


def rate(size, dtype, device, repeats):
    cuda = device.startswith("cuda")
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out, times = torch.empty(size, size, dtype=dtype, device=device), []
    for i in range(3 + repeats):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        torch.matmul(a, b, out=out)
        if cuda:
            torch.cuda.synchronize()
        if i >= 3:
            times.append(time.perf_counter() - start)
    return round(2 * size**3 / statistics.median(times) / 1e12, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=20)
    a = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    found = {
        name: rate(a.size, dtype, a.device, a.repeats)
        for name, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32))
    }
    print(json.dumps({"software": f"torch {torch.__version__}", "size": a.size, **found}))


if __name__ == "__main__":
    main()
