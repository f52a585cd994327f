#!/usr/bin/env python3
"""The faults of verify/faults, put into a copy of the workspace, against the ledger.

    python3 verify/checks/faults.py                    # all faults, seed 1, the rows they name
    python3 verify/checks/faults.py --out verify/FAULTS.md   # five seeds, the whole ledger
    python3 verify/checks/faults.py --only lambda-never-dropped
    python3 verify/checks/faults.py --show lambda-never-dropped    # as `inducer verify` shows it

Every fault is one small file: `file` and the text in it that is `right`, what a developer might
have written (`wrong`), what it `means` and the `claim` whose row has to catch it. Where the right
text stands more than once in its file, `after` says behind which text to look; with
`statement = true` both texts are statements and not expressions. Of one that no row catches,
`missed` says why.

All faults are put in at once, each behind a switch that the variable INDUCER_FAULT turns on while
the program runs, so that the workspace is built once. With a fault on, the named claim runs first;
where its rows pass, and `--whole` asks for it, the whole ledger does, and with `--tests` where that
passes too every test of the workspace. A fault that was never reached says so, and a run that
comes to no end within its time is not caught: nothing compared a number. What was found is kept
beside the copy, and a run that was stopped goes on from there.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FAULTS = os.path.join(ROOT, "verify", "faults")

SWITCH = '''//! Which fault is on, and which were reached.

use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static ON: LazyLock<usize> = LazyLock::new(|| {
    let on = std::env::var("INDUCER_FAULT").ok().and_then(|on| on.parse().ok());
    on.unwrap_or(usize::MAX)
});
static REACHED: AtomicBool = AtomicBool::new(false);

/// Whether this fault is on.
#[inline]
pub fn on(fault: usize) -> bool {
    fault == *ON && reached()
}

#[cold]
fn reached() -> bool {
    if !REACHED.swap(true, Ordering::Relaxed) {
        let _ = std::io::stderr().write_all(b"the fault was reached\\n");
    }
    true
}
'''

PROGRAM = '''//! Runs one claim, or all of them, with the fault that is on: a line of JSON for
//! each row, or with INDUCER_SHOW what `inducer verify` prints.

use inducer_verify::{Ledger, Options, render, run};

/// The engines that run code of the workspace: no fault of it is one of a proof.
const ENGINES: [&str; 6] =
    ["prime field", "integers", "double-double", "reference", "cpu", "emulated"];

fn main() {
    inducer_reports::ledger::claims::register().expect("the rows of runs and reports");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [cases, seed] = [0, 1].map(|i| words[i].parse::<u64>().expect("a number"));
    let mut options = Options::new(cases as usize, seed);
    options.filter = words.get(2).filter(|claim| !claim.is_empty()).cloned();
    options.shrink = std::env::var_os("INDUCER_SHOW").is_some();
    let engines = match words.get(3) {
        Some(engine) => vec![engine.as_str()],
        None => ENGINES.to_vec(),
    };
    for engine in engines {
        options.engine = Some(engine.into());
        if options.rows(&Ledger::read().expect("the ledger")).is_empty() {
            continue;
        }
        let report = run(&options, &|row| {
            if options.shrink {
                return println!("{}", render::line(row));
            }
            println!("{}", serde_json::json!([row.claim, row.engine, row.verdict, row.note]));
        });
        if let Err(error) = report {
            eprintln!("{error}");
            std::process::exit(2);
        }
    }
}
'''

# what the copy has besides the workspace
OWN = {
    "fault/Cargo.toml": '[package]\nname = "inducer-fault"\nversion = "0.0.0"\nedition = "2024"\n',
    "fault/src/lib.rs": SWITCH,
    "reports/examples/with_fault.rs": PROGRAM,
}

HEAD = """# Faults

The faults of [`verify/faults`](faults), put into a copy of the workspace one after the other, and
the row of the ledger and the engine that notice: the row that a fault names, or where it passes any
other, which stands in the table then. `make faults` writes this page.
"""

# What the page is made with where nothing else is asked for.
PAGE_SEEDS = "1,2,3,4,5"

# What a run that was ended is noted as.
NO_END = "no end"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", help=f"numbers with commas between them: 1, or {PAGE_SEEDS} with --out"
    )
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--only", help="faults whose name contains one of these")
    parser.add_argument("--show", metavar="NAME", help="run one fault's row and show what it says")
    parser.add_argument("--whole", action="store_true", help="all rows where the named one passes")
    parser.add_argument("--tests", action="store_true", help="all tests where the ledger passes")
    parser.add_argument("--work", default=os.path.join(ROOT, "target", "faults"))
    parser.add_argument("--profile", default="release", help="of the build: release or dev")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="faults at a time")
    parser.add_argument("--limit", type=int, default=600, help="seconds for one run")
    parser.add_argument("--check", action="store_true", help="only that every text stands there")
    parser.add_argument("--out", help="write the table there; --whole goes with it")
    a = parser.parse_args()
    # a part of the catalogue is no page
    page = a.out is not None and a.only is None
    a.seeds = a.seeds or (PAGE_SEEDS if page else "1")
    a.whole |= page
    return a


def catalogue(only):
    """The faults by name, in the order of their numbers, and those that are wanted."""
    faults = []
    names = sorted(name for name in os.listdir(FAULTS) if name.endswith(".toml"))
    for number, name in enumerate(names):
        with open(os.path.join(FAULTS, name), "rb") as file:
            fault = tomllib.load(file)
        fault.update(name=name.removesuffix(".toml"), number=number)
        faults.append(fault)
    parts = [""] if only is None else only.split(",")
    return faults, [fault for fault in faults if any(part in fault["name"] for part in parts)]


def place(fault, text):
    """Where the right text of a fault stands, begin and end."""
    # what stands below a file's tests is no part of the program
    text = text.split("#[cfg(test)]\nmod tests", 1)[0]
    after, right = fault.get("after"), fault["right"]
    begin = 0
    if after is not None:
        begin = text.find(after) + len(after)
        if begin < len(after):
            sys.exit(f"{fault['name']}: {fault['file']} has no {after!r}")
    elif text.count(right) > 1:
        sys.exit(f"{fault['name']}: {fault['file']} has {right!r} more than once")
    at = text.find(right, begin)
    if at < 0:
        sys.exit(f"{fault['name']}: {fault['file']} has no {right!r}")
    return at, at + len(right)


def broken(faults, text):
    """The text of a file with its faults in it, each behind its switch."""
    places = {}
    for fault in faults:
        places.setdefault(place(fault, text), []).append(fault)
    end = len(text)
    for begin, upto in sorted(places, reverse=True):
        if upto > end:
            sys.exit(f"{places[begin, upto][0]['name']}: two faults overlap")
        own = places[begin, upto]
        switches = " else ".join(
            f"if ::inducer_fault::on({fault['number']}) {{ {fault['wrong']} }}" for fault in own
        )
        new = f"{switches} else {{ {text[begin:upto]} }}"
        if not any(fault.get("statement") for fault in own):
            new = f"({new})"
        text, end = text[:begin] + new + text[upto:], begin
    return text


def write(path, text):
    """Writes a file, unless it has this text already: cargo looks at the times."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def workspace(tree, own):
    """The names of the workspace's files; a copy of it loses what is neither there nor its own."""
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    names = [name for name in files.stdout.splitlines() if os.path.isfile(os.path.join(ROOT, name))]
    for directory, _, old in os.walk(tree):
        for name in old:
            path = os.path.relpath(os.path.join(directory, name), tree)
            if path not in names and path not in own:
                os.remove(os.path.join(tree, path))
    return names


def copied(faults, tree):
    """A copy of the workspace with all faults in it."""
    names = workspace(tree, OWN)
    of_file, crates = {}, set()
    for fault in faults:
        of_file.setdefault(fault["file"], []).append(fault)
        crates.add(fault["file"].split("/")[0])
    for name in names:
        source = os.path.join(ROOT, name)
        target = os.path.join(tree, name)
        try:
            with open(source, encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            continue
        if name in of_file:
            text = broken(of_file[name], text)
        if name == "Cargo.toml":
            text = text.replace("members = [", 'members = ["fault", ', 1)
        if name.endswith("/Cargo.toml") and name.split("/")[0] in crates:
            line = '[dependencies]\ninducer-fault = { path = "../fault" }\n'
            text = text.replace("[dependencies]\n", line, 1)
        write(target, text)
    for name, text in OWN.items():
        write(os.path.join(tree, name), text)


def built(a, tree):
    """The program, built."""
    environment = dict(os.environ)
    target = environment.setdefault("CARGO_TARGET_DIR", os.path.join(a.work, "target"))
    command = ["cargo", "build", "--workspace", "--example", "with_fault"]
    command += ["--profile", a.profile]
    print("building the copy; its warnings are the switches' and not shown", flush=True)
    done = subprocess.run(command, cwd=tree, env=environment, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"the copy does not build:\n{done.stderr}")
    directory = "debug" if a.profile == "dev" else a.profile
    return os.path.join(target, directory, "examples", "with_fault")


def ran(a, program, number, seed, claim, engine=None):
    """The rows of a run that failed, whether the fault was reached, and whether the run came to an
    end within its time; of one that does not the rows before count."""
    words = [program, str(a.cases), str(seed), *filter(None, [claim, engine])]
    environment = dict(os.environ, INDUCER_FAULT=str(number))
    ended = True
    try:
        run = subprocess.run(words, env=environment, capture_output=True, timeout=a.limit)
        code, out, err = run.returncode, run.stdout, run.stderr
    except subprocess.TimeoutExpired as stopped:
        ended, code, out, err = False, 0, stopped.stdout or b"", stopped.stderr or b""
    out, err = out.decode(errors="replace"), err.decode(errors="replace")
    # the last line of a run that was ended may be a part of one
    lines = [line for line in out.splitlines() if line.startswith("[") and line.endswith("]")]
    rows = [row for row in map(json.loads, lines) if not claim or row[0] == claim]
    failed = [f"{row[0]} on {row[1]}" for row in rows if row[2] == "failed"]
    if code not in (0, 2) and not failed:
        failed = [f"{claim or 'the ledger'}: the program ended with {code}"]
    return failed, "the fault was reached" in err, ended


def found(a, program, fault, seed):
    """What catches a fault at a seed."""
    number, claim = fault["number"], fault["claim"]
    # most faults show on one engine; the others run where it does not
    tries = [("claim", claim, "cpu f64"), ("claim", claim, None)]
    if a.whole:
        tries.append(("ledger", None, None))
    reached, all_ended = False, True
    for by, rows, engine in tries:
        if rows and not all_ended:
            continue
        failed, here, ended = ran(a, program, number, seed, rows, engine)
        reached, all_ended = reached or here, all_ended and ended
        if failed:
            return {"caught": failed, "reached": reached, "by": by}
    if a.tests:
        failed, here = tested(a, number)
        reached |= here
        if failed:
            return {"caught": failed, "reached": reached, "by": "tests"}
    return {"caught": [] if all_ended else [NO_END], "reached": reached, "by": None}


def tested(a, number):
    """The tests of the workspace that fail with a fault on, and whether it was reached."""
    environment = dict(os.environ, INDUCER_FAULT=str(number))
    environment.setdefault("CARGO_TARGET_DIR", os.path.join(a.work, "target"))
    command = ["cargo", "test", "--workspace", "--no-fail-fast", "--profile", a.profile]
    run = subprocess.run(
        command, cwd=os.path.join(a.work, "tree"), env=environment, capture_output=True, text=True
    )
    lines = run.stdout.splitlines()
    failed = [line.split()[1] for line in lines if re.fullmatch(r"test \S+ .*FAILED", line)]
    if run.returncode != 0 and not failed:
        sys.exit(f"{' '.join(command)}: {run.stderr[-2000:]}")
    return failed, "the fault was reached" in run.stdout + run.stderr


def show(a, program, fault):
    """A fault, and what its row says on the engine where most faults show."""
    print(f"{fault['file']}: {fault['right']}  →  {fault['wrong']}", flush=True)
    environment = dict(os.environ, INDUCER_FAULT=str(fault["number"]), INDUCER_SHOW="1")
    words = [program, str(a.cases), a.seeds.split(",")[0], fault["claim"], "cpu f64"]
    subprocess.run(words, env=environment, check=True, stderr=subprocess.DEVNULL)


def cell(fault, result):
    """What caught a fault at a seed, in few words."""
    note = "" if result["reached"] else ", not reached"
    caught = result["caught"]
    if result["by"] is None:
        return ("**no end**" if caught == [NO_END] else "**no**") + note
    more = f" and {len(caught) - 1} more" if len(caught) > 1 else ""
    if result["by"] == "claim":
        # the row stands in the column before
        engines = [row.removeprefix(f"{fault['claim']} on ") for row in caught]
        return engines[0] + more + note
    if result["by"] == "ledger":
        row, _, engine = caught[0].partition(" on ")
        return f"`{row}` on {engine}{more}{note}"
    return f"test `{caught[0]}`{more}{note}"


def table(wanted, seeds, results):
    """What caught what, as Markdown."""
    head = " | ".join(f"seed {seed}" for seed in seeds)
    lines = [f"| fault | what it means | row | {head} |", "|---|---|---|" + "---|" * len(seeds)]
    survived = []
    for fault in wanted:
        cells = []
        for seed in seeds:
            result = results.get(f"{fault['name']} {seed}")
            if result is None:
                cells.append("–")
                continue
            cells.append(cell(fault, result))
            if result["by"] is None:
                survived.append((fault["name"], seed))
        cells = [fault["name"], fault["means"], f"`{fault['claim']}`", *cells]
        lines.append("| " + " | ".join(cells) + " |")
    return lines, survived


def page(a, wanted, seeds, lines, survived):
    """The table with what it says in all."""
    total = len(wanted) * len(seeds)
    named = ", ".join(map(str, seeds))
    text = f"{total - len(survived)} of {total} are caught ({len(wanted)} faults, each at the "
    text += f"{'seeds' if len(seeds) > 1 else 'seed'} {named}; {a.cases} cases of a small row). "
    text += f"What comes to no end in {a.limit} seconds is not caught."
    if survived:
        missed = ", ".join(f"{name} at seed {seed}" for name, seed in survived)
        text += f" Not caught: {missed}."
        for fault in wanted:
            if "missed" in fault and any(fault["name"] == name for name, _ in survived):
                text += f" {fault['name']}: {fault['missed']}."
    return "\n".join([HEAD, textwrap.fill(text, 100, break_on_hyphens=False), "", *lines]) + "\n"


def said(result):
    """A result in words."""
    what = ", ".join(result["caught"][:2]) if result["caught"] else "NOT CAUGHT"
    if result["caught"] == [NO_END]:
        what = "NO END"
    return what if result["reached"] else f"{what} (not reached)"


def main():
    a = arguments()
    faults, wanted = catalogue(a.only)
    tree = os.path.join(a.work, "tree")
    for name in {fault["file"] for fault in faults}:
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            broken([fault for fault in faults if fault["file"] == name], file.read())
    print(f"{len(faults)} faults in {len({fault['file'] for fault in faults})} files", flush=True)
    if a.check:
        return
    copied(faults, tree)
    program = built(a, tree)
    if a.show:
        shown = [fault for fault in faults if fault["name"] == a.show]
        if not shown:
            sys.exit(f"no fault is called {a.show}")
        show(a, program, shown[0])
        return
    with open(program, "rb") as file:
        key = hashlib.sha256(file.read()).hexdigest()[:16]
    path = os.path.join(a.work, f"found-{key}-{a.cases}.json")
    results = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
    seeds = [int(seed) for seed in a.seeds.split(",")]
    left = []
    for seed in seeds:
        for fault in wanted:
            before = results.get(f"{fault['name']} {seed}")
            if before is None or (a.whole and not before["by"]):
                left.append((fault, seed))
    # most rows of one claim keep one processor busy
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        runs = {pool.submit(found, a, program, *one): one for one in left}
        try:
            for done in concurrent.futures.as_completed(runs):
                fault, seed = runs[done]
                result = done.result()
                results[f"{fault['name']} {seed}"] = result
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(results, file, indent=1)
                print(f"seed {seed}  {fault['name']}: {said(result)}", flush=True)
        finally:
            # where it was stopped, what has not begun does not begin
            pool.shutdown(wait=False, cancel_futures=True)
    lines, survived = table(wanted, seeds, results)
    # a part of the catalogue is no page
    if a.out and a.only is None:
        with open(a.out, "w", encoding="utf-8") as file:
            file.write(page(a, wanted, seeds, lines, survived))
    total = len(wanted) * len(seeds)
    print(f"{total - len(survived)} of {total} caught ({len(wanted)} faults, {len(seeds)} seeds)")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
