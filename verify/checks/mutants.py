#!/usr/bin/env python3
"""The mutants of the engine's operations and methods, all in one build behind a switch.

    python3 verify/checks/mutants.py                          # all of ops, parts and kernels
    python3 verify/checks/mutants.py --since 73cd0e1          # those on lines new since then
    python3 verify/checks/mutants.py --out mutants.json       # and what became of each
    python3 verify/checks/mutants.py --again mutants.json     # those that survived then

`cargo mutants --list` says what is changed where; `verify/checks/mutants` writes every file again
with each mutant as a branch that the variable INDUCER_MUTANT turns on while the program runs. What
does not compile that way is left out and counted. Each of the others runs the engine's own tests,
ended at the first that fails; what survives runs the claims about whole models and tests of other
crates. A mutant that comes to no end is caught by the clock, and said so.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

from faults import HERE, ROOT, workspace

WORK = os.path.join(ROOT, "target", "mutants")
TREE = os.path.join(WORK, "tree")
PLACES = ["gpu/src/ops", "gpu/src/parts", "gpu/src/kernels"]
# what helps tests, and how a card's kernels are launched, which are C++
EXCEPT = ["gpu/src/ops/testing*", "gpu/src/kernels/cuda/**"]
CLAIMS = """models_agree gradients_reverse roberta_agree variants_agree prefix_reparametrised
    prefix_empty frozen_stays dropout_masks sizes_methods large_batches lora_merged peft_
    ia3 adapter_files init_distribution cache_decoding trainer_steps mixed_masters"""

SWITCH = """//! Which mutant is on.
use std::sync::LazyLock;
static ON: LazyLock<usize> = LazyLock::new(|| {
    let on = std::env::var("INDUCER_MUTANT").ok().and_then(|on| on.parse().ok());
    on.unwrap_or(usize::MAX)
});
/// Whether this one is.
#[inline]
pub fn on(mutant: usize) -> bool {
    mutant == *ON
}
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--since", help="only on lines that gpu/src had not at this commit")
    parser.add_argument("--again", help="those that survive in this --out of an earlier run (too)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=int, default=120, help="seconds for one run")
    parser.add_argument("--out", help="write what became of each mutant there as JSON")
    return parser.parse_args()


def run(command, **more):
    return subprocess.run(command, cwd=TREE, text=True, capture_output=True, check=False, **more)


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, text=True, capture_output=True, check=True)
    return done.stdout


def copied():
    """The workspace's files in the copy, and nothing else but what it built."""
    for name in workspace(TREE, ["gpu/src/switch.rs"]):
        there = os.path.join(TREE, name)
        os.makedirs(os.path.dirname(there), exist_ok=True)
        shutil.copy2(os.path.join(ROOT, name), there)


def listed(since, again):
    """The mutants: those on lines that are new and those that survived before, or else all."""
    words = ["cargo", "mutants", "-p", "inducer-gpu", "--no-config", "--list", "--json"]
    for place in PLACES:
        words += ["-f", f"{place}/*.rs", "-f", f"{place}/**/*.rs"]
    for place in EXCEPT:
        words += ["-e", place]
    found = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=True)
    mutants = json.loads(found.stdout)
    if since is None and again is None:
        return mutants
    chosen = new_lines(mutants, since) if since else []
    if again:
        with open(again, encoding="utf-8") as file:
            before = json.load(file)
        survived = {unplaced(row["name"]) for row in before if row["became"] == "survives"}
        chosen = [m for m in mutants if m in chosen or unplaced(m["name"]) in survived]
    return chosen


def unplaced(name):
    """A mutant's name without its line and column, which move: a few others may share it."""
    return re.sub(r":\d+:\d+:", ":", name)


def new_lines(mutants, since):
    files = git("ls-tree", "-r", "--name-only", since, "gpu/src").split()
    bare = lambda text: "".join(text.split())
    before = "".join(bare(git("show", f"{since}:{file}")) for file in files)
    new = []
    for mutant in mutants:
        with open(os.path.join(ROOT, mutant["file"]), encoding="utf-8") as file:
            lines = file.read().splitlines()
        span = mutant["span"]
        own = lines[span["start"]["line"] - 1 : span["end"]["line"]]
        if any(bare(line) and bare(line) not in before for line in own):
            new.append(mutant)
    return new


def switched(mutants, left_out):
    """Writes the copy's files with their switches; the numbers that found their place."""
    for place in PLACES:
        for folder, _, names in os.walk(os.path.join(ROOT, place)):
            for name in names:
                path = os.path.join(folder, name)
                shutil.copy2(path, os.path.join(TREE, os.path.relpath(path, ROOT)))
    with open(os.path.join(TREE, "gpu/src/switch.rs"), "w", encoding="utf-8") as file:
        file.write(SWITCH)
    with open(os.path.join(ROOT, "gpu/src/lib.rs"), encoding="utf-8") as file:
        text = file.read()
    with open(os.path.join(TREE, "gpu/src/lib.rs"), "w", encoding="utf-8") as file:
        file.write(text + "\n#[doc(hidden)]\npub mod switch;\n")
    path = os.path.join(WORK, "list.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(mutants, file)
    tool = ["cargo", "run", "--release", "--quiet", "--manifest-path"]
    tool += [os.path.join(HERE, "mutants", "Cargo.toml"), "--", path, TREE]
    environment = dict(os.environ, CARGO_TARGET_DIR=os.path.join(WORK, "tool"))
    done = run(tool + [",".join(map(str, left_out))], env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    return set(json.loads(done.stdout))


def environment():
    return dict(
        os.environ, CARGO_TARGET_DIR=os.path.join(WORK, "target"), RUSTFLAGS="--cap-lints warn"
    )


def blamed(message):
    """The mutants that an error of the compiler speaks of: those on its lines, or the nearest."""
    numbers = set()
    for span in message["spans"]:
        if not span["is_primary"]:
            continue
        with open(os.path.join(TREE, span["file_name"]), encoding="utf-8") as file:
            lines = file.read().splitlines()
        ids = [(at, int(n)) for at, line in enumerate(lines, 1) for n in ON.findall(line)]
        here = {n for at, n in ids if span["line_start"] <= at <= span["line_end"]}
        if not here and ids:
            gap = lambda at: abs(at - span["line_start"]) + (at > span["line_start"]) * 0.5
            nearest = min(gap(at) for at, _ in ids)
            here = {n for at, n in ids if gap(at) == nearest}
        numbers |= here
    return numbers


ON = re.compile(r"switch::on\((\d+)usize\)")


def compiled(mutants):
    """What compiles behind its switch, and what does not."""
    left_out = set()
    while True:
        placed = switched(mutants, left_out)
        done = run(
            ["cargo", "check", "-p", "inducer-gpu", "--lib", "--message-format=json"],
            env=environment(),
        )
        errors = set()
        messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for line in messages:
            message = line.get("message") or {}
            if isinstance(message, dict) and message.get("level") == "error" and message["spans"]:
                errors |= blamed(message)
        if done.returncode == 0:
            return placed, left_out
        if not errors - left_out:
            sys.exit("an error that no switch explains:\n" + done.stderr[-3000:])
        left_out |= errors
        print(f"{len(left_out)} do not compile behind a switch", flush=True)


def programs(package, target):
    """A package's test programs, each with the folder that it runs in."""
    command = ["cargo", "test", "--release", "-p", package, *target, "--no-run"]
    done = run(command + ["--message-format=json"], env=environment())
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    tests = [line for line in found if line.get("executable") and line["profile"]["test"]]
    folder = os.path.join(TREE, package.replace("inducer-", ""))
    return [(line["executable"], folder) for line in tests]


def outcome(test, words, number, limit):
    """`caught` by the first test that fails, `survives`, or `no end`."""
    path, folder = test
    environment = dict(os.environ, INDUCER_MUTANT=str(number))
    child = subprocess.Popen(
        [path, *words], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )
    ended = lambda *_: os.killpg(child.pid, signal.SIGKILL)
    with concurrent.futures.ThreadPoolExecutor(1) as watch:
        reading = watch.submit(first_failure, child)
        try:
            failed = reading.result(limit)
        except concurrent.futures.TimeoutError:
            ended()
            return "no end"
    if failed is not None:
        ended()
        child.wait()
        return f"caught by {failed}"
    return "survives" if child.wait() == 0 else "caught by its end"


def first_failure(child):
    for line in child.stdout:
        if line.startswith("test ") and line.rstrip().endswith("FAILED"):
            return line.split()[1]
    return None


def judged(a, test, orders, mutants):
    """What becomes of each mutant (by its number), where it runs one selection of tests after the
    other until one fails. What was found is kept, and goes for the same program."""
    with open(test[0], "rb") as file:
        key = hashlib.sha256(file.read()).hexdigest()[:16]
    path = os.path.join(WORK, f"found-{key}.json")
    found = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            found = {int(number): became for number, became in json.load(file).items()}
    if outcome(test, orders(None)[-1], -1, a.limit) != "survives":
        sys.exit(f"{test[0]}: fails without a mutant")

    def one(number):
        for words in orders(mutants[number]):
            became = outcome(test, words, number, a.limit)
            if became != "survives":
                break
        return became

    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        runs = {n: pool.submit(one, n) for n in sorted(mutants) if n not in found}
        try:
            for done, (number, future) in enumerate(runs.items(), 1):
                found[number] = future.result()
                if done % 50 == 0:
                    print(f"{done} of {len(runs)}", flush=True)
        finally:
            # where it was stopped, what has not begun does not begin, and what was found stays
            pool.shutdown(wait=False, cancel_futures=True)
            with open(path, "w", encoding="utf-8") as file:
                json.dump(found, file)
    return {number: found[number] for number in mutants}


# the tests that notice most, within a second or two
QUICK = """ops::tests::layers ops::tests::attention a_step_for_one_label drift:: decode:: parts::"""


def quick_tests_first(_):
    """The selections of the engine's own tests, one after the other."""
    return [QUICK.split(), []]


STAGES = [
    ("inducer-gpu", ["--lib"], quick_tests_first),
    ("inducer-gpu", ["--test", "peft_goldens", "--test", "golden_methods"], lambda _: [[]]),
    ("inducer-verify", ["--test", "claims"], lambda _: [CLAIMS.split()]),
    ("inducer-verify", ["--test", "custom_variant"], lambda _: [[]]),
    ("inducer-reports", ["--test", "all"], lambda _: [["interchange::", "explain::"]]),
]


def main():
    a = arguments()
    os.makedirs(TREE, exist_ok=True)
    copied()
    mutants = listed(a.since, a.again)
    placed, not_compiled = compiled(mutants)
    print(f"{len(mutants)} mutants, {len(placed)} behind a switch", flush=True)
    left = {number: mutants[number] for number in placed}
    found = {}
    for package, target, orders in STAGES:
        for test in programs(package, target) if left else []:
            found.update(judged(a, test, orders, left))
            left = {number: m for number, m in left.items() if found[number] == "survives"}
            print(f"{len(left)} survive {os.path.basename(test[0])}", flush=True)
    for number, mutant in enumerate(mutants):
        kind = "does not compile" if number in not_compiled else "has no switch"
        mutant["became"] = found.get(number, kind)
    if a.out:
        rows = [{"name": m["name"], "became": m["became"]} for m in mutants]
        with open(a.out, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    table(mutants)


def table(mutants):
    print("| file | mutants | caught | no end | survive | do not compile, or have no switch |")
    print("|---|---:|---:|---:|---:|---:|")
    files = sorted({m["file"] for m in mutants})
    for file in [*files, "all"]:
        own = [m["became"] for m in mutants if file in (m["file"], "all")]
        caught = sum(b.startswith("caught") for b in own)
        counts = [len(own), caught, own.count("no end"), own.count("survives")]
        counts.append(len(own) - sum(counts[1:]))
        print(f"| {file} | " + " | ".join(map(str, counts)) + " |")
    for mutant in mutants:
        if mutant["became"] == "survives":
            print(mutant["name"])


if __name__ == "__main__":
    main()
