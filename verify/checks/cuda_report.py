#!/usr/bin/env python3
"""What verify/checks/cuda.sh found, from the outputs in OUT/raw, as cuda.json and cuda.md.

    cuda_report.py libraries              directories of the CUDA libraries of PyTorch's wheels
    cuda_report.py data DIR               generated data in WebNLG's layout, and prose
    cuda_report.py begin OUT ...          the facts that are known at the start
    cuda_report.py write OUT [--say STEP] both files, and a step's line; [--print] the Markdown and,
                                          where a step failed, status 1
"""

import argparse
import datetime
import glob
import hashlib
import json
import os
import platform
import random
import re
import site
import sys

import cuda_losses
from cuda_markdown import markdown, memory, on_card

LIBRARIES = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10")
STEPS = ("device", "verify", "bench", "methods", "resume", "rate", "decode", "more")


# --- What the script asks for ---------------------------------------------------------------------


def libraries():
    """The directories that hold one of the libraries, joined by colons."""
    roots = site.getsitepackages() + [site.getusersitepackages()] + sys.path
    roots = [r for r in dict.fromkeys(roots) if r and os.path.isdir(r)]
    places = [d for r in roots for d in sorted(glob.glob(os.path.join(r, "nvidia", "*", "lib")))]
    places += [os.path.join(r, "torch", "lib") for r in roots]
    places += sorted(glob.glob("/usr/local/cuda*/lib64"))
    found, missing = [], set(LIBRARIES)
    for place in dict.fromkeys(places):
        here = {name for name in missing if os.path.exists(os.path.join(place, name))}
        if here:
            found.append(place)
            missing -= here
    return ":".join(found)


def data(folder):
    """Triples and the sentence that says them, from invented words; prose of the same sentences."""
    rng = random.Random(1)
    parts = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = ["".join(rng.choices(parts, k=rng.randint(2, 4))) for _ in range(300)]
    properties = rng.sample(words, 20)

    def entry(number):
        subject = rng.choice(words).capitalize()
        facts = [(rng.choice(properties), rng.choice(words)) for _ in range(rng.randint(1, 3))]
        text = " and ".join(f"the {p} of {subject} is {o}" for p, o in facts) + " ."
        triples = [{"subject": subject, "property": p, "object": o} for p, o in facts]
        return text, {
            "category": "City",
            "lexicalisations": [{"comment": "good", "lang": "", "lex": text, "xml_id": "Id1"}],
            "modifiedtripleset": triples,
            "originaltriplesets": {"originaltripleset": [triples]},
            "shape": "NA",
            "shape_type": "NA",
            "size": str(len(facts)),
            "xml_id": f"Id{number}",
        }

    os.makedirs(os.path.join(folder, "webnlg"), exist_ok=True)
    for name, count in (("train", 200), ("dev", 8), ("test", 4)):
        entries = [{str(i + 1): entry(i + 1)[1]} for i in range(count)]
        with open(os.path.join(folder, "webnlg", name + ".json"), "w") as file:
            json.dump({"entries": entries}, file)
    with open(os.path.join(folder, "prose.txt"), "w") as file:
        file.write("\n\n".join(entry(i)[0] for i in range(2000)))


def begin(a):
    with open(a.binary, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    facts = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": a.command,
        "device_asked": a.device,
        "preset": a.preset,
        "steps_of_a_training": a.steps,
        "torch": bool(a.torch),
        "transformers": bool(a.transformers),
        "binary_sha256": digest,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "library_folders": libraries(),
    }
    with open(os.path.join(a.out, "raw", "facts.json"), "w") as file:
        json.dump(facts, file)


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# --- What lies in OUT/raw -------------------------------------------------------------------------


class Raw:
    """Outputs, jobs and times of a run."""

    def __init__(self, out):
        self.folder = os.path.join(out, "raw")
        self.facts = json.loads(self.text("facts.json"))
        self.jobs = {}
        for name, status, seconds, command in self.rows("jobs.tsv"):
            self.jobs[name] = {"status": status, "seconds": float(seconds), "command": command}
        # a step that had no time left has none
        self.steps = {n: float(s) if s != "time" else None for n, s in self.rows("steps.tsv")}
        self.cuda = self.facts["device_asked"] == "cuda"

    def text(self, name):
        try:
            with open(os.path.join(self.folder, name), errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def rows(self, name):
        return [line.split("\t", 3 if name == "jobs.tsv" else -1)
                for line in self.text(name).splitlines()]

    def objects(self, name):
        """The lines that are JSON objects."""
        found = []
        for line in self.text(name).splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                found.append(value)
        return found

    def matching(self, pattern):
        return [(name, m) for name in self.jobs if (m := re.fullmatch(pattern, name))]

    def why(self, name):
        """Why a job has no result, none where it has one."""
        job = self.jobs.get(name)
        if job is None or job["status"] == "time":
            return "not run (time)"
        if job["status"] == "0":
            return None
        if job["status"] == "124":
            return f"time-out after {job['seconds']:.0f} s"
        lines = self.text(name + ".err").strip().splitlines()
        lines = [line for line in lines if line.strip()] or [""]
        # anyhow prints the first cause in the first line, Python in the last
        said = next((line for line in lines if line.startswith("Error")), lines[-1])
        return f"status {job['status']}: {said.strip()[:160]}"

    def failed(self, name):
        """Whether a job ran and failed; one without time was not run."""
        return name in self.jobs and self.jobs[name]["status"] not in ("0", "time")

    def card_mib(self, name):
        """Most memory in use on the card during a job, less what was in use before."""
        used = [int(x) for x in self.text(name + ".mem").split() if x.isdigit()]
        return max(used) - used[0] if len(used) > 1 else None


# --- Steps: each gives its part of cuda.json, and what failed in it -------------------------------


def device(raw):
    facts, failures = raw.facts, []
    missing = re.findall(r"(\S+) => not found", raw.text("libraries.out"))
    if missing:
        failures.append("libraries not found: " + ", ".join(missing))
    if why := raw.why("version"):
        failures.append("inducer --version: " + why)
    found = {
        "processor": facts["processor"],
        "cores": facts["cores"],
        "version": raw.text("version.out").strip(),
        "missing_libraries": missing,
    }
    if raw.cuda:
        fields = [x.strip() for x in raw.text("card.out").strip().split(",")]
        if why := raw.why("card"):
            failures.append("nvidia-smi: " + why)
        elif len(fields) == 5:
            names = ("card", "driver", "memory", "clock", "power_limit")
            found.update(zip(names, fields))
    return found, failures


def verify(raw):
    failures = []
    try:
        report = json.loads(raw.text("verify.out"))
    except ValueError:
        return {}, [raw.why("verify") or "the output is no JSON"]
    engines = {}
    for row in report["rows"]:
        counts = engines.setdefault(row["engine"], {"passed": 0, "failed": 0, "not-run": 0})
        counts[row["verdict"]] += 1
    bad = [
        {
            "claim": row["claim"],
            "engine": row["engine"],
            "error": (row.get("worst") or {}).get("error"),
            "bound": (row.get("worst") or {}).get("bound"),
            "note": row.get("note"),
        }
        for row in report["rows"]
        if row["verdict"] == "failed"
    ]
    if bad:
        failures.append(f"{len(bad)} of {len(report['rows'])} rows of the ledger")
    if raw.failed("verify") and not bad:
        failures.append(raw.why("verify"))
    for engine, counts in engines.items():
        if raw.cuda and on_card(engine) and counts["not-run"]:
            failures.append(f"{counts['not-run']} rows of {engine} not run")
    found = {"cases": report["cases"], "seed": report["seed"], "seconds": report["seconds"]}
    return {**found, "engines": engines, "failing": bad}, failures


def resume(raw):
    rows, failures = [], []
    if raw.failed("backbone"):
        return {"rows": rows}, ["the backbone: " + raw.why("backbone")]
    for method, dtype, killed, twin, resumed in raw.rows("resume.tsv"):
        name = f"{method}-{dtype}"
        row = {"method": method, "dtype": dtype, "killed": killed, "twin": twin, "resumed": resumed}
        rows.append(row)
        short = [x for x in "abc" if raw.why(f"train-{name}-{x}")]
        why = [raw.why(f"train-{name}-{x}") for x in short]
        if any(raw.failed(f"train-{name}-{x}") for x in short):
            row["problem"] = next(w for w in why if not w.startswith("not run"))
        elif short:
            row["not_run"] = "time"
            continue
        elif twin != "same":
            row["problem"] = "two runs of one seed: " + twin
        elif killed != "killed":
            row["problem"] = "not killed between a checkpoint and its end"
        elif resumed != "same":
            row["problem"] = "killed and resumed: " + resumed
        if "problem" in row:
            failures.append(f"{name}: {row['problem']}")
    return {"rows": rows}, failures


def bench(raw):
    """Every size, type and method: ours, eager, compile, ratios. Failures of `bench` alone."""
    cases, failures = {}, []

    def case(dtype, rows, length, method):
        key = (rows, length, dtype, method)
        return cases.setdefault(key, {"rows": int(rows), "length": int(length), "dtype": dtype,
                                      "method": method, "ours": None, "eager": None,
                                      "compile": None})

    for name, m in raw.matching(r"bench-ours-(.+)-(bf16|f32)-(\d+)x(\d+)"):
        method, dtype, rows, length = m.groups()
        # a prefix leaves fewer positions, and the peer does the same
        wanted = length if method != "prefix" or int(length) != 916 else "1024"
        found = case(dtype, rows, wanted, method)
        found["ours"] = (raw.objects(name + ".out") or [{}])[-1]
        why = raw.why(name) or (None if "step_ms" in found["ours"] else "no output")
        if why:
            found["ours"] = {"error": why}
            if "not run" not in why:
                failures.append((rows, dtype, f"{method} {rows} × {length} {dtype}: {why}"))
        else:
            found["ours"]["card_mib"] = raw.card_mib(name)
    pattern = r"bench-peer-(.+)-(bf16|f32)-(\d+)x(\d+)(-compile)?"
    for name, m in raw.matching(pattern):
        listed, dtype, rows, length, compiled = m.groups()
        lines = {x["method"]: x for x in raw.objects(name + ".out") if "method" in x}
        for method in listed.split("+"):
            line = lines.get(method, {"error": raw.why(name) or "no output"})
            case(dtype, rows, length, method)["compile" if compiled else "eager"] = line
    rates = (raw.objects("rate.out") or [{}])[-1]
    for (rows, length, dtype, method), found in cases.items():
        if method.startswith("inducer-"):  # another form of the peer
            found["ours"] = cases.get((rows, length, dtype, "inducer"), found)["ours"]
        compare(found, rates.get(dtype))
    return list(cases.values()), failures


def compare(found, rate):
    ours = found["ours"] or {}
    for form in ("eager", "compile"):
        peer = found[form] or {}
        if ours.get("tokens_per_s") and peer.get("tokens_per_s"):
            found["ratio_" + form] = round(ours["tokens_per_s"] / peer["tokens_per_s"], 2)
            found["memory_" + form] = round(memory(ours) / peer["peak_mib"], 2)
    if ours.get("step_gflop") and rate:
        found["tflops"] = ours["step_gflop"] / ours["step_ms"]
        found["share"] = round(found["tflops"] / rate, 3)
    elif ours.get("share") is not None:
        found["share"] = ours["share"]


def peers(raw, cases):
    """What is missing of the peer."""
    if not raw.facts["transformers"]:
        return "no torch" if not raw.facts["torch"] else "no transformers"
    lines = [c[form] for c in cases for form in ("eager", "compile")]
    missing = sum("error" in line for line in lines if line)
    return f"{missing} of the peer's rows not measured" if missing else ""


def decode(raw):
    found, failures = {}, []
    for key in ("ours-none", "ours-inducer", "peer"):
        name = "decode-" + key
        if name not in raw.jobs:
            continue
        lines = raw.objects(name + ".out")
        found[key] = {k: v for k, v in (lines or [{}])[-1].items() if k != "ids"}
        if why := raw.why(name):
            found[key] = {"error": why}
            if raw.failed(name) and key != "peer":
                failures.append(f"{key}: {why}")
    ours, peer = found.get("ours-none", {}), found.get("peer", {})
    if ours.get("tokens_per_s") and peer.get("tokens_per_s"):
        found["ratio"] = round(ours["tokens_per_s"] / peer["tokens_per_s"], 2)
    return found, failures


def collect(raw):
    """Everything: cuda.json."""
    cases, bench_failures = bench(raw)
    # step `bench` is the first size in bf16, step `more` is all others
    sizes = [m.group(1) for _, m in raw.matching(r"bench-ours-.+-bf16-(\d+)x\d+")]
    early = [w for rows, dtype, w in bench_failures if (rows, dtype) == (sizes[0], "bf16")]
    found = {
        "device": device(raw),
        "verify": verify(raw),
        "bench": (cases, early),
        "methods": cuda_losses.methods(raw),
        "resume": resume(raw),
        "rate": ((raw.objects("rate.out") or [{}])[-1], []),
        "decode": decode(raw),
        "more": (None, [w for _, _, w in bench_failures if w not in early]),
    }
    result = {**raw.facts, "steps": {}}
    for name in STEPS:
        value, failures = found[name]
        if name not in raw.steps:
            result["steps"][name] = {"status": "not run", "why": "not asked for"}
            continue
        status, why = "passed", ""
        if raw.steps[name] is None:
            status, why = "not run", "time"
        elif failures:
            status, why = "FAILED", "; ".join(failures)
        elif name == "rate" and not value:
            status, why = "not run", raw.why("rate") if raw.facts["torch"] else "no torch"
        elif name in ("bench", "more"):
            why = peers(raw, cases)
        elif name in ("methods", "resume"):
            rows = value["rows"]
            short = [r for r in rows if r.get("problem") or r.get("not_run")]
            if not rows or len(short) == len(rows):
                status, why = "not run", "time"
            elif short:
                why = f"{len(short)} of {len(rows)} not run (time)"
        result["steps"][name] = {"status": status, "why": why, "seconds": raw.steps[name]}
        if value is not None:
            result[name] = value
    result["jobs"] = raw.jobs
    result["failed"] = [n for n, s in result["steps"].items() if s["status"] == "FAILED"]
    return result


# --- The command ----------------------------------------------------------------------------------


def write(a):
    raw = Raw(a.out)
    result = collect(raw)
    text = markdown(result)
    for name, content in (("cuda.json", json.dumps(result, indent=1) + "\n"), ("cuda.md", text)):
        path = os.path.join(a.out, name)
        with open(path + ".tmp", "w") as file:
            file.write(content)
        os.replace(path + ".tmp", path)
    if a.say:
        step = result["steps"][a.say]
        why = f": {step['why']}" if step["why"] else ""
        print(f"{a.say:<8} {step['status']:<8} {step.get('seconds') or 0:6.1f} s{why[:300]}",
              flush=True)
    if a.print:
        print("\n" + text, end="")
        sys.exit(bool(result["failed"]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("libraries")
    commands.add_parser("data").add_argument("out")
    starts = commands.add_parser("begin")
    starts.add_argument("out")
    for name in ("command", "device", "preset", "binary"):
        starts.add_argument("--" + name)
    for name in ("torch", "transformers", "steps"):
        starts.add_argument("--" + name, type=int)
    writes = commands.add_parser("write")
    writes.add_argument("out")
    writes.add_argument("--say", choices=STEPS)
    writes.add_argument("--print", action="store_true")
    a = parser.parse_args()
    if a.what == "libraries":
        print(libraries())
    elif a.what == "data":
        data(a.out)
    else:
        (begin if a.what == "begin" else write)(a)


if __name__ == "__main__":
    main()
