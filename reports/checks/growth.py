#!/usr/bin/env python3
"""How time and memory of a training step grow with each size, and a picture of it.

    make bench-growth                               # needs matplotlib; ten minutes
    python3 reports/checks/growth.py --only length,heads --out growth

One size at a time is doubled from a common point (`tiny`, 8 × 128, the inducer) while all others
stay. Of every point the shortest step counts, over rounds that go through all points in turn, and
the largest resident set. Beside the time stands its model: the step's matrix products, counted
(`step_gflop`), at the rate that they have at the curve's first point. The exponent of a curve is
the slope of its logarithm over that of the size, between the two largest sizes. Ends with 1 where
time grows faster than the size and than its products, by more than `--most`, or memory faster than
the size.

A second table has the threads, from one to as many as there are cores. Of n threads it says which
share of the step ran on one of them, by Karp and Flatt, e = (T_n / T_1 - 1 / n) / (1 - 1 / n), and
what that share leaves of more threads, T_1 / T_m = 1 / (e + (1 - e) / m): computed, not measured.
"""

import argparse
import json
import math
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "reports", "peers"))
from compare import WORK, one  # noqa: E402

BASE = {"preset": "tiny", "method": "inducer", "batch": 8, "length": 128}
CURVES = {
    "length": ("length", {"batch": 2}, [128, 256, 512, 1024, 2048, 4096]),
    "batch": ("batch", {}, [1, 2, 4, 8, 16, 32, 64]),
    "layers": ("layers", {}, [1, 2, 4, 8, 16]),
    "heads": ("heads", {}, [1, 2, 4, 8, 16, 32]),
    "prefix length": ("prefix-length", {"method": "prefix"}, [8, 32, 128, 512, 2048]),
    "inducer's bottleneck": ("bottleneck", {}, [4, 16, 64, 256]),
    "adapter's bottleneck": ("bottleneck", {"method": "adapter"}, [4, 16, 64, 256]),
    "LoRA's rank": ("rank", {"method": "lora"}, [4, 16, 64, 128]),
}


AHEAD = [4, 8, 16]  # threads that are computed


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default=os.path.join(ROOT, "target", "release", "inducer"))
    parser.add_argument("--only", help="curves whose name begins with one of these")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--most", type=float, default=0.15, help="exponent above what is allowed")
    parser.add_argument("--out", default="growth", help="writes OUT.md and OUT.png")
    return parser.parse_args()


def step(a, option, more, size):
    """One point of a curve, measured once."""
    asked = {**BASE, **more, option: size}
    asked["positions"] = max(1024, asked["length"] + asked.get("prefix-length", 0))
    # about a second for each point, and two steps at least
    tokens = asked["batch"] * asked["length"]
    asked["steps"] = max(2, min(20, 20_000 // tokens))
    command = [a.engine, "bench", "--json", "--no-rate", "--warmup", "1"]
    command += ["--threads", str(a.threads)]
    command += [word for name, value in asked.items() for word in (f"--{name}", str(value))]
    return one(command)


def curves(a):
    """Each curve's points: size, milliseconds, MiB, GFLOP."""
    wanted = {
        name: curve
        for name, curve in CURVES.items()
        if not a.only or any(name.startswith(part) for part in a.only.split(","))
    }
    found = {name: [[size, math.inf, 0.0, 0.0] for size in c[2]] for name, c in wanted.items()}
    for _ in range(a.rounds):
        for name, (option, more, sizes) in wanted.items():
            for point, size in zip(found[name], sizes):
                line = step(a, option, more, size)
                point[1] = min(point[1], line["step_ms_min"])
                point[2] = max(point[2], line["peak_mib"])
                point[3] = line["step_gflop"]
    return found


def on_threads(a):
    """The shortest step of each preset on 1, 2, 4 … threads, and on all of them."""
    counts = sorted({2**k for k in range(a.threads.bit_length())} | {a.threads})
    found = {preset: [[n, math.inf] for n in counts] for preset in WORK}
    for _ in range(a.rounds):
        for preset, points in found.items():
            batch, length, steps = WORK[preset]
            for point in points:
                words = ["--preset", preset, "--batch", batch, "--length", length]
                words += ["--steps", steps, "--threads", point[0]]
                command = [a.engine, "bench", "--json", "--no-rate", *map(str, words)]
                point[1] = min(point[1], one(command)["step_ms_min"])
    return found


def alone(points):
    """The share of the step on one thread, by the run on the most of them (Karp and Flatt)."""
    n = points[-1][0]
    return (points[-1][1] / points[0][1] - 1 / n) / (1 - 1 / n)


def thread_table(found):
    counts = [n for n, _ in next(iter(found.values()))]
    ahead = [m for m in AHEAD if m > counts[-1]]
    head = ["preset", *(f"ms on {n}" for n in counts), "speed-up", "on one thread"]
    head += [f"{m} threads (computed)" for m in ahead]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for preset, points in found.items():
        e = max(alone(points), 0.0)
        cells = [preset, *(f"{ms:.1f}" for _, ms in points)]
        cells += [f"{points[0][1] / points[-1][1]:.2f}", f"{100 * e:.1f} %"]
        cells += [f"{1 / (e + (1 - e) / m):.1f}" for m in ahead]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def exponent(points, column):
    """Slope of the logarithm between the two largest sizes."""
    (small, large) = points[-2], points[-1]
    return math.log(large[column] / small[column]) / math.log(large[0] / small[0])


def judged(name, points, most):
    """The row of a table, and what grows too fast."""
    time, memory, products = (exponent(points, column) for column in (1, 2, 3))
    first, last = points[0], points[-1]
    wrong = []
    if time > max(products, 1.0) + most:
        wrong.append(f"{name}: time grows with exponent {time:.2f}, products with {products:.2f}")
    if memory > 1.0 + most:
        wrong.append(f"{name}: memory grows with exponent {memory:.2f}")
    cells = [
        name,
        f"{first[0]} to {last[0]}",
        f"{first[1]:.1f} to {last[1]:.1f}",
        f"{first[3]:.2f} to {last[3]:.2f}",
        f"{first[2]:.0f} to {last[2]:.0f}",
        f"{time:.2f}",
        f"{products:.2f}",
        f"{memory:.2f}",
    ]
    return "| " + " | ".join(cells) + " |", wrong


def check_judgement():
    """The judgement's own control: a curve that is quadratic where its products are linear."""
    points = [[n, float(n * n), float(n), float(n)] for n in (1, 2, 4)]
    assert judged("x", points, 0.15)[1] == ["x: time grows with exponent 2.00, products with 1.00"]
    assert not judged("x", [[n, float(n), float(n), float(n)] for n in (1, 2)], 0.15)[1]
    assert math.isclose(alone([[1, 10.0], [4, 4.0]]), 0.2)


def draw(found, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    rows = (len(found) + 3) // 4
    columns = min(4, len(found))
    figure, axes = pyplot.subplots(
        2 * rows, columns, figsize=(3.1 * columns, 4.6 * rows), squeeze=False
    )
    for place, (name, points) in enumerate(found.items()):
        row, column = 2 * (place // 4), place % 4
        sizes = [point[0] for point in points]
        rate = points[0][1] / points[0][3]
        time, memory = axes[row][column], axes[row + 1][column]
        time.plot(sizes, [rate * p[3] for p in points], "--", color="#888", label="its products")
        time.plot(sizes, [p[1] for p in points], "o-", color="#1b6ca8", label="measured")
        memory.plot(sizes, [p[2] for p in points], "o-", color="#a8501b")
        time.set_title(name, fontsize=10)
        memory.set_xlabel(name, fontsize=8)
        for axis, unit, values in (
            (time, "ms a step", [p[1] for p in points] + [rate * p[3] for p in points]),
            (memory, "MiB at most", [p[2] for p in points]),
        ):
            axis.set_xscale("log", base=2)
            axis.set_xticks(sizes, [str(size) for size in sizes])
            if max(values) > 4 * min(values):
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
                axis.yaxis.set_major_formatter("{x:g}")
                axis.yaxis.set_minor_formatter(ticker.NullFormatter())
            else:
                axis.set_ylim(0, 1.15 * max(values))
            axis.grid(alpha=0.3)
            axis.tick_params(labelsize=7)
            if column == 0:
                axis.set_ylabel(unit, fontsize=8)
    axes[0][0].legend(fontsize=7)
    for place in range(len(found), 4 * rows):
        if columns == 4:
            axes[2 * (place // 4)][place % 4].axis("off")
            axes[2 * (place // 4) + 1][place % 4].axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    a = arguments()
    check_judgement()
    found = curves(a)
    lines = [] if not found else [
        "| size | from, to | ms a step | GFLOP a step | MiB at most "
        "| exponent of time | of products | of memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    wrong = []
    for name, points in found.items():
        line, bad = judged(name, points, a.most)
        lines.append(line)
        wrong += bad
    threads = {}
    if a.threads > 1 and (not a.only or "threads" in a.only.split(",")):
        threads = on_threads(a)
        lines += ["", *thread_table(threads)]
    print("\n".join(lines))
    with open(f"{a.out}.md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(f"{a.out}.json", "w", encoding="utf-8") as file:
        json.dump(found | {"threads": threads}, file)
    if found:
        draw(found, f"{a.out}.png")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
