#!/usr/bin/env python3
"""The ledger on the engines of verify/engines, as the page reports/results/engines.md.

    pip install torch transformers peft==0.21.2 safetensors
    cargo build --release
    python3 verify/checks/engines.py --out reports/results/engines.md

Each engine runs twice and must give the same rows both times. Then the torch engine runs with one
term broken at a time, each of which must fail the row that names it, the variant in Python is held
against its formula, right and wrong, and the engine that was written from the protocol's page
alone runs. Exit status 1 when something is not as expected.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINES = os.path.join(os.path.dirname(HERE), "engines")
# what each engine is, and what the names of the rows that it fails begin with
STATED = {
    "torch_engine.py": ("transformers' models, every method in plain PyTorch", ()),
    "peft_engine.py": ("LoRA, (IA)³ and prefixes by the peft package", ()),
    "package_engine.py": ("the package inducer_tuning of this repository", ()),
    "authors_arithmetic.py": ("the arithmetic of the authors' published code", ("roberta-",)),
}
FAULTS = {
    "drop-sqrt-p": ("√p is dropped", "term-scale"),
    "second-softmax": ("λ over the text's n columns alone", "term-denominator"),
    "weighted-b2": ("b_2 weighted by Σ_h λ^(h)", "term-shared-bias"),
    "prefix-offset": ("the text behind a prefix begins at position 0", "term-prefix-offset"),
}
VERDICTS = {"passed": "passed", "failed": "**FAILED**", "not-run": "–"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default="target/release/inducer")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--cases", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--once", action="store_true", help="do not run each engine again")
    parser.add_argument(
        "--variant", nargs="?", const="", metavar="PROGRAM",
        help="the variant too, by this build of the example my_variant_in_python (else by cargo)",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="engines at one time")
    parser.add_argument("--out", help="write the page there")
    return parser.parse_args()


def command(a, script):
    return " ".join(shlex.quote(word) for word in [a.python, *script])


def ledger(a, script, *more):
    """The report of a run, and its seconds."""
    words = [a.binary, "verify", "--json", "--time-limit", "300", "--seed", str(a.seed)]
    words += ["--cases", str(a.cases)]
    script = [os.path.join(ENGINES, script[0]), *script[1:]]
    start = time.monotonic()
    done = subprocess.run(
        [*words, *more, "--engine", command(a, script)], capture_output=True, text=True
    )
    if not done.stdout.strip():
        sys.exit(f"{script}: {done.stderr}")
    return json.loads(done.stdout), time.monotonic() - start


def kept(report):
    """A report without what a clock says."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in report["rows"]]


def versions(a):
    names = "torch, transformers, peft, safetensors"
    code = f"import {names}\nprint(', '.join(m.__name__ + ' ' + m.__version__ for m in ({names})))"
    return subprocess.run([a.python, "-c", code], capture_output=True, text=True).stdout.strip()


def engines(a, problems):
    """Every engine: file, report, seconds."""
    # the longest one first, so that none is alone at the end
    order = sorted(STATED, key=list(STATED).index, reverse=True) * (1 if a.once else 2)
    start = time.monotonic()
    with ThreadPoolExecutor(a.jobs) as pool:
        runs = [(script, pool.submit(ledger, a, [script])) for script in order]
    print(f"{len(runs)} runs in {time.monotonic() - start:.0f} s", file=sys.stderr)
    found = []
    for script, (_, expected) in STATED.items():
        own = [run.result() for of, run in runs if of == script]
        report, seconds = own[0]
        print(f"{script}: {len(report['rows'])} rows in {seconds:.0f} s", file=sys.stderr)
        if any(kept(report) != kept(other) for other, _ in own[1:]):
            problems.append(f"{script}: two runs differ")
        for row in report["rows"]:
            if row["verdict"] == "failed" and not row["claim"].startswith(expected or "?"):
                problems.append(f"{script}: {row['claim']}: {row['note']}")
        if expected and not any(row["verdict"] == "failed" for row in report["rows"]):
            problems.append(f"{script}: no row failed")
        found.append((script, report, seconds))
    return found


def faults(a, problems):
    """Of every fault: what it is, the row, the row's note."""
    found = []
    for fault, (what, claim) in FAULTS.items():
        report, _ = ledger(a, ["torch_engine.py", "--fault", fault], "--claim", claim)
        row = next(row for row in report["rows"] if row["claim"] == claim)
        if row["verdict"] != "failed":
            problems.append(f"--fault {fault}: {claim} did not fail")
        found.append((what, claim, row))
    return found


def variant(a, problems):
    for option, right in [("", True), (" --wrong", False)]:
        engine = command(a, [os.path.join(ENGINES, "my_variant.py")]) + option
        example = ["cargo", "run", "-q", "--release", "--example"]
        example = [a.variant] if a.variant else [*example, "my_variant_in_python", "--"]
        done = subprocess.run([*example, engine], text=True)
        if (done.returncode == 0) != right:
            problems.append(f"my_variant.py{option}: exit status {done.returncode}")


def minimal(a, problems):
    report, _ = ledger(a, ["minimal_engine.py"])
    passed = [row["claim"] for row in report["rows"] if row["verdict"] == "passed"]
    failed = [row["claim"] for row in report["rows"] if row["verdict"] == "failed"]
    if failed or "models-agree" not in passed:
        problems.append(f"minimal_engine.py: failed {failed}, passed {passed}")
    return passed


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "\n"


def note(row):
    return (row["note"] or "").replace("|", "\\|")


def page(a, found, broken, passed):
    """The page: who passes what, what fails and why, the planted faults."""
    given = f"python3 verify/checks/engines.py --cases {a.cases} --seed {a.seed}"
    out = "# Other engines against the ledger\n\n"
    out += "Every claim of the ledger about whole models, on programs that speak the protocol of\n"
    out += "[`verify/engines`](../../verify/engines/README.md). Made by\n\n"
    out += f"```sh\n{given} --out reports/results/engines.md\n```\n\n"
    out += f"with {versions(a)}, on the CPU.\n\n"
    count = lambda report, verdict: str(sum(r["verdict"] == verdict for r in report["rows"]))
    out += table(
        ["engine", "what it is", "passed", "failed", "not run", "seconds"],
        [
            [f"`{script}`", STATED[script][0]]
            + [count(report, verdict) for verdict in VERDICTS]
            + [f"{seconds:.0f}"]
            for script, report, seconds in found
        ],
    )
    out += "\"–\" is not run: no case of the claim is one that the engine can do.\n\n"
    out += "## Who passes what\n\n"
    claims = [row["claim"] for row in found[0][1]["rows"]]
    verdict = lambda report, claim: next(
        VERDICTS[row["verdict"]] for row in report["rows"] if row["claim"] == claim
    )
    out += table(
        ["claim", *(report["rows"][0]["engine"] for _, report, _ in found)],
        [[f"`{c}`", *(verdict(report, c) for _, report, _ in found)] for c in claims],
    )
    out += "## What fails, and where\n\n"
    failed = [(r, row) for _, r, _ in found for row in r["rows"] if row["verdict"] == "failed"]
    out += table(
        ["engine", "claim", "worst case"],
        [[row["engine"], f"`{row['claim']}`", note(row)] for _, row in failed],
    )
    out += "The authors' λ has hidden keys in its denominator on RoBERTa (`roberta-padding`), so\n"
    out += "a text depends on what it is batched with (`roberta-packing`), and a model of theirs\n"
    out += "is the paper's only where nothing is padded. Their Adaptive on RoBERTa adds the\n"
    out += "inducer's term to the attention probabilities.\n\n## Planted faults\n\n"
    out += "The torch engine with one term broken fails the row that names it.\n\n"
    out += table(
        ["fault", "row", "what the row says"],
        [[what, f"`{claim}`", note(row)] for what, claim, row in broken],
    )
    out += "## An engine from the protocol's page alone\n\n"
    names = ", ".join(f"`{claim}`" for claim in passed)
    out += f"`minimal_engine.py`, numpy, passes {len(passed)} rows: {names}.\n"
    return out


def main():
    a, problems = arguments(), []
    found, broken, passed = engines(a, problems), faults(a, problems), minimal(a, problems)
    if a.variant is not None:
        variant(a, problems)
    if a.out:
        with open(a.out, "w") as f:
            f.write(page(a, found, broken, passed))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
