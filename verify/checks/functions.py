#!/usr/bin/env python3
"""Whether every row of the ledger runs the functions that it names.

    python3 verify/checks/functions.py                  # all rows
    python3 verify/checks/functions.py --only eq09      # rows whose id contains this

The workspace is built once with a counter in every function (`-C instrument-coverage`); each row
then runs alone on the engines that it lists, and the counters say which functions ran. A name of
the ledger is a crate, a module or a type, and a function: `inducer_gpu::train::AdamW::step`. Of a
type alone some function has to run. Needs `rustup component add llvm-tools` and binutils' c++filt.
"""

import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LEDGERS = ["verify/claims.toml", "reports/claims.toml"]

# not a function of this program runs there: a proof assistant, a program of one's own; a card and
# its emulation run the same functions as the CPU down to the kernels
ELSEWHERE = ("proved", "external", "cuda", "emulated")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose id contains this")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    return parser.parse_args()


def built():
    """The program, with counters in the functions of this workspace."""
    work = os.path.join(ROOT, "target", "functions")
    os.makedirs(work, exist_ok=True)
    wrapper = os.path.join(work, "rustc")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\nexec "$@" -C instrument-coverage\n')
    os.chmod(wrapper, 0o755)
    target = os.path.join(work, "target")
    environment = dict(os.environ, RUSTC_WORKSPACE_WRAPPER=wrapper, LLVM_PROFILE_FILE=os.devnull)
    environment["CARGO_TARGET_DIR"] = target
    command = ["cargo", "build", "--release", "--bin", "inducer"]
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return os.path.join(target, "release", "inducer")


def tool(name):
    """A tool of the compiler's own LLVM."""
    ask = ["rustc", "--print", "sysroot"]
    root = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    for directory, _, files in os.walk(os.path.join(root, "lib", "rustlib")):
        if name in files:
            return os.path.join(directory, name)
    sys.exit(f"{name} is missing: rustup component add llvm-tools")


def ran(program, profdata, row, cases):
    """The functions that a row runs, as the compiler names them."""
    # claims whose ids contain this one's run with it, and their functions count as well
    with tempfile.TemporaryDirectory() as scratch:
        raw = os.path.join(scratch, "%p.profraw")
        for engine in row["engines"]:
            if engine.startswith(ELSEWHERE):
                continue
            words = [program, "verify", "--claim", row["id"], "--engine", engine]
            run = subprocess.run(
                [*words, "--cases", str(cases), "--json"],
                env=dict(os.environ, LLVM_PROFILE_FILE=raw),
                capture_output=True,
                text=True,
            )
            if run.returncode != 0:
                sys.exit(f"{' '.join(words)}: {run.stderr}")
        merged = os.path.join(scratch, "merged")
        parts = [os.path.join(scratch, name) for name in os.listdir(scratch)]
        subprocess.run([profdata, "merge", "-sparse", *parts, "-o", merged], check=True)
        show = [profdata, "show", "--all-functions", merged]
        text = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    names = re.findall(r"^  (_R\S+?):$\n.*\n.*\n    Function count: [1-9]", text, re.MULTILINE)
    filt = ["c++filt", "-s", "rust"]
    text = subprocess.run(
        filt, input="\n".join(names), check=True, capture_output=True, text=True
    ).stdout
    return {plain(line) for line in text.splitlines()}


def plain(name):
    """A path without crates' hashes and types' parameters: crate::module::Type::function."""
    name = re.sub(r"\[[0-9a-f]+\]", "", name)
    name = name.replace("->", "")
    # innermost first: parameters behind a name go, brackets around a type open
    before = None
    while name != before:
        before = name
        name = re.sub(r"(?<=\w)(::)?<[^<>]*>", "", name)
        name = re.sub(r"(?<![\w:])<([^<>]*?)( as [^<>]*)?>", r"\1", name)
    return re.sub(r"::+", "::", name)


def is_seen(function, seen):
    """Whether a function of the ledger, or some function of a type, is among those. It may be named
    where its crate gives it to others: between crate and name modules are left out."""
    parts = function.split("::")
    if parts[-1][0].isupper():
        parts.append(None)

    def names(path):
        at = iter(path.split("::"))
        return all(part is None or part in at for part in parts) and (
            parts[-1] is None or path.endswith(f"::{parts[-1]}")
        )

    return any(path.startswith(parts[0] + "::") and names(path) for path in seen)


def main():
    a = arguments()
    rows = []
    for name in LEDGERS:
        path = os.path.join(ROOT, name)
        with open(path, "rb") as file:
            rows += tomllib.load(file)["claim"]
    rows = [row for row in rows if a.only in row["id"] and row["functions"]]
    program, profdata = built(), tool("llvm-profdata")

    def unseen(row):
        seen = ran(program, profdata, row, a.cases)
        return [f for f in row["functions"] if not is_seen(f, seen)]

    missing = 0
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for row, functions in zip(rows, pool.map(unseen, rows)):
            for function in functions:
                print(f"{row['id']}: {function} did not run", flush=True)
            missing += len(functions)
    named = sum(len(row["functions"]) for row in rows)
    print(f"{named - missing} of {named} functions of {len(rows)} rows were seen to run")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
