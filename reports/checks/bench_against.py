#!/usr/bin/env python3
"""This tree's training steps against another commit's, in turn on this machine.

    make bench-against REV=77f27a3
    python3 reports/checks/bench_against.py REV --cases tiny:inducer,gpt2:lora --rounds 7

The other commit is checked out and built beside this tree (target/against), both in the profile
`release`. A case is a preset and a method; every round times both programs once, the first of them
by turns. Its ratio is the other commit's shortest step over this one's, above 1 where this tree is
faster: the median and the range over rounds. Where the range has ratios on both sides of `--least`,
the clock decides nothing, and the instructions of one step do, counted under valgrind on one thread
(without AVX-512, which valgrind does not know). Ends with 1 where a case is slower.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "reports", "peers"))
from compare import WORK, one  # noqa: E402

CASES = "tiny:inducer,tiny:lora,tiny:full,mini:inducer,mini:prefix,gpt2:inducer,gpt2:lora"

# a step that valgrind computes within seconds
COUNTED = ["--batch", "2", "--length", "48", "--warmup", "0", "--threads", "1", "--no-rate"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rev", help="the other commit")
    parser.add_argument("--cases", default=CASES, help="preset:method, with commas between them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--least", type=float, default=0.98, help="ratio that is not slower")
    parser.add_argument("--count", action="store_true", help="count every case's instructions")
    parser.add_argument("--out", help="write the table there as well")
    return parser.parse_args()


def output(command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done


def built(tree, target):
    command = ["cargo", "build", "--release", "--locked", "--bin", "inducer"]
    environment = dict(os.environ, CARGO_TARGET_DIR=target)
    subprocess.run(command, cwd=tree, check=True, env=environment)
    return os.path.join(target, "release", "inducer")


def other(rev):
    """The program of the other commit, and the commit's name."""
    commit = output(["git", "rev-parse", f"{rev}^{{commit}}"], cwd=ROOT).stdout.strip()
    tree = os.path.join(ROOT, "target", "against", "tree")
    if not os.path.exists(tree):
        output(["git", "worktree", "prune"], cwd=ROOT)
        output(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT)
    output(["git", "checkout", "--detach", "--force", commit], cwd=tree)
    return built(tree, os.path.join(ROOT, "target", "against", "target")), commit[:9]


def step_ms(program, preset, method, threads):
    batch, length, steps = WORK[preset]
    command = [program, "bench", "--preset", preset, "--method", method, "--batch", str(batch)]
    command += ["--length", str(length), "--steps", str(steps), "--threads", str(threads), "--json"]
    return one(command)["step_ms_min"]


def instructions(program, preset, method):
    """Instructions of one step; none where the program or this machine cannot count them."""
    counted = []
    for steps in (1, 2):
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=no"]
        command += ["--cachegrind-out-file=/dev/null", program, "bench", "--preset", preset]
        command += ["--method", method, "--steps", str(steps), *COUNTED]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
        if done.returncode or not found:
            return None
        counted.append(int(found[1].replace(",", "")))
    return counted[1] - counted[0]


def verdict(ratios, counted, least):
    """Whether a case is slower, and by what that is seen."""
    if min(ratios) >= least:
        return False, "every round"
    if max(ratios) < least:
        return True, "every round"
    if counted is None:
        return statistics.median(ratios) < least, "the median (no instructions were counted)"
    return counted < least, "instructions"


def check_verdict():
    """The verdict's own control: what each kind of measurement has to give."""
    assert verdict([0.99, 1.2], None, 0.98) == (False, "every round")
    assert verdict([0.9, 0.97], 2.0, 0.98) == (True, "every round")
    assert verdict([0.9, 1.1], 0.97, 0.98) == (True, "instructions")
    assert verdict([0.9, 1.1], 0.99, 0.98) == (False, "instructions")
    assert verdict([0.9, 0.95, 1.1], None, 0.98)[0]


def measured(a, case, programs):
    preset, method = case.split(":")
    ours, theirs = [], []
    for round_ in range(a.rounds):
        turn = [(programs[0], ours), (programs[1], theirs)]
        for program, times in turn if round_ % 2 == 0 else reversed(turn):
            times.append(step_ms(program, preset, method, a.threads))
    ratios = [their / our for our, their in zip(ours, theirs)]
    counted = None
    if a.count or min(ratios) < a.least <= max(ratios):
        counts = [instructions(program, preset, method) for program in programs]
        counted = counts[1] / counts[0] if all(counts) else None
    slower, by = verdict(ratios, counted, a.least)
    return {
        "case": case,
        "ratio": statistics.median(ratios),
        "range": (min(ratios), max(ratios)),
        "ms": (statistics.median(theirs), statistics.median(ours)),
        "instructions": counted,
        "slower": slower,
        "by": by,
    }


def row(found):
    counted = found["instructions"]
    cells = [
        found["case"].replace(":", " "),
        f"{found['ratio']:.3f}",
        "{:.2f}–{:.2f}".format(*found["range"]),
        "{:.2f}, {:.2f}".format(*found["ms"]),
        "–" if counted is None else f"{counted:.4f}",
        f"{'**slower**' if found['slower'] else 'not slower'}, by {found['by']}",
    ]
    return "| " + " | ".join(cells) + " |"


def main():
    a = arguments()
    check_verdict()
    theirs, commit = other(a.rev)
    programs = [built(ROOT, os.path.join(ROOT, "target")), theirs]
    lines = [
        f"| against {commit} | ratio | range | step there, here (ms) | instructions | verdict |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    slower = []
    for case in a.cases.split(","):
        found = measured(a, case, programs)
        lines.append(row(found))
        print(lines[-1], flush=True)
        if found["slower"]:
            slower.append(case)
    if a.out:
        with open(a.out, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    if slower:
        sys.exit(f"slower than {commit}: {', '.join(slower)}")


if __name__ == "__main__":
    main()
