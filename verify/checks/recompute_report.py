"""Recomputes a report on WebNLG from what its runs left on disk, in Python that shares nothing
with this program: the outputs scored again, the steps' differences, errors, probabilities and
judgements, and, for adapters that are there, the loss of the references in transformers; of the
part on long inputs what each doubling of the length adds to the loss.

    python3 verify/checks/recompute_report.py --out out --data webnlg/ [--backbone gpt2/]
        [--long-data coqa/ [--long-backbone gpt2/]]

needs scipy and Unidecode; with --backbone also torch and transformers (and the package in
reports/python, which is found beside this script). `--out` is the study's folder: report.json and
runs/. Prints a line for each kind of number with the largest difference, and exits with 1 when one
is beyond its bound.
"""

import argparse
import json
import math
import re
import statistics
import sys
from collections import Counter
from pathlib import Path

from scipy.stats import t as student
from unidecode import unidecode

STEPS = [
    ("prefix", "adaptive"),
    ("adaptive", "extension"),
    ("extension", "inducer"),
    ("inducer", "inducer-lora"),
    ("gating", "inducer"),
]
MARGIN = 0.02


def prepared(text):
    """The challenge's preparation: split, fold, lower-case, to ASCII."""
    words = re.sub(r"(\W)", r" \1 ", text).split()
    return unidecode(" ".join(words).lower()).split()


def entries(data):
    """Category, triples and usable texts of each test entry, and the categories of training."""

    def read(part):
        for keyed in json.loads((data / f"{part}.json").read_text())["entries"]:
            (entry,) = keyed.values()
            texts = [x["lex"] for x in entry["lexicalisations"] if x["comment"] == "good"]
            triples = [
                (t["subject"], t["property"], t["object"]) for t in entry["modifiedtripleset"]
            ]
            if texts:
                yield entry["category"], triples, texts

    return list(read("test")), {category for category, _, _ in read("train")}


def grams(words, n):
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def bleu(pairs):
    """Corpus BLEU of (words, references): multi-bleu's."""
    matched, total, length, reference = [0] * 4, [0] * 4, 0, 0
    for words, references in pairs:
        length += len(words)
        reference += min((abs(len(r) - len(words)), len(r)) for r in references)[1]
        for n in range(4):
            own, best = grams(words, n + 1), Counter()
            for r in references:
                best |= grams(r, n + 1)
            total[n] += sum(own.values())
            matched[n] += sum((own & best).values())
    if not all(matched):
        return 0.0
    brevity = 1.0 if length >= reference else math.exp(1 - reference / length)
    logs = (math.log(m / n) for m, n in zip(matched, total))
    return 100 * brevity * math.exp(sum(logs) / 4)


class Checks:
    def __init__(self):
        self.worst, self.wrong = {}, []

    def number(self, kind, here, there, bound, where):
        error = abs(here - there)
        worst = self.worst.setdefault(kind, [0, 0.0, bound])
        worst[0] += 1
        worst[1] = max(worst[1], error)
        if not error <= bound:
            self.wrong.append(f"{where}: {kind}: {there} in the report, {here} recomputed")

    def same(self, kind, here, there, where):
        self.number(kind, 0.0 if here == there else 1.0, 0.0, 0.0, f"{where} ({here!r}, {there!r})")

    def report(self):
        for kind, (count, worst, bound) in self.worst.items():
            print(f"{kind:<42} {count:>5} numbers, at most {worst:.2e} apart (bound {bound:.0e})")
        for line in self.wrong[:20]:
            print("WRONG", line)
        return not self.wrong


def scores(study, out, checks, test, seen):
    """BLEU of every run, from its outputs."""
    for row in study["rows"]:
        for run in row["runs"]:
            if run["configuration"].get("loss_only"):
                continue
            where = f"{row['method']} seed {run['seed']}"
            folder = out / "runs" / f"{row['method']}-seed{run['seed']}"
            lines = (folder / "outputs.txt").read_text()
            lines = lines.split("\n")[:-1]
            limit = run["configuration"]["test_limit"] or len(test)
            count = min(limit, len(test))
            chosen = [test[i * len(test) // count] for i in range(count)]
            checks.same("outputs", len(lines), count, where)
            filled, present = [], []
            for text, (category, _, texts) in zip(lines, chosen):
                words = prepared(text)
                references = [prepared(r) for r in texts[:3]]
                present.append((words, references))
                filled.append((category, words, references + [[]] * (3 - len(references))))
            parts = {
                "seen": [p[1:] for p in filled if p[0] in seen],
                "unseen": [p[1:] for p in filled if p[0] not in seen],
                "all": [p[1:] for p in filled],
                "without_empty": present,
            }
            for name, pairs in parts.items():
                if run["bleu"].get(name) is not None:
                    checks.number(f"BLEU {name}", bleu(pairs), run["bleu"][name], 0.02, where)


def losses(out, row, run, prefix=""):
    path = out / "runs" / f"{prefix}{row['method']}-seed{run['seed']}" / "test_losses.json"
    return json.loads(path.read_text())


def mean(values):
    return sum(values) / len(values)


def steps(study, out, checks):
    """Test losses, contrasts and judgements from the losses by entry."""
    by_method = {}
    for row in study["rows"]:
        runs = [losses(out, row, run) for run in row["runs"]]
        by_method[row["method"]] = runs
        for run, all_losses in zip(row["runs"], runs):
            total = sum(e["nats"] for e in all_losses) / sum(e["tokens"] for e in all_losses)
            where = f"{row['method']} seed {run['seed']}"
            checks.number("test loss", total, run["test_loss"], 1e-9, where)
    tokens = next([e["tokens"] for e in r[0]] for r in by_method.values() if r)
    all_tokens = sum(tokens)
    found = {}
    for c in study["contrasts"]:
        where = f"{c['lower']} -> {c['upper']}"
        lower, upper = by_method[c["lower"]], by_method[c["upper"]]
        each = [
            mean([r[i]["nats"] for r in upper]) - mean([r[i]["nats"] for r in lower])
            for i in range(len(tokens))
        ]
        difference = sum(each) / all_tokens
        rest = sum((n - difference * t) ** 2 for n, t in zip(each, tokens))
        entry = len(tokens) / (len(tokens) - 1) * rest / all_tokens**2
        checks.number("difference of a step", difference, c["difference"], 1e-9, where)
        checks.number("variance of the entries", entry, c["entry_variance"], 1e-12, where)
        parts = [(entry, len(tokens) - 1)]
        for runs, there in zip((lower, upper), c["seed_variances"]):
            variance = statistics.variance(sum(e["nats"] for e in r) / all_tokens for r in runs)
            checks.number("variance of the seeds", variance, there, 1e-12, where)
            parts.append((variance / len(runs), len(runs) - 1))
        checks.same("runs", [len(lower), len(upper)], c["seeds"], where)
        error = math.sqrt(sum(v for v, _ in parts))
        df = error**4 / sum(v * v / n for v, n in parts)
        found[c["lower"], c["upper"]] = (difference, error, df)
    return found


def judgements(study, found):
    """The label of each step, as the page has them."""
    present = [s for s in STEPS if s in found]
    p = [2 * student.sf(abs(found[s][0] / found[s][1]), found[s][2]) for s in present]
    order, least, holm = sorted(range(len(p)), key=p.__getitem__), 0.0, [1.0] * len(p)
    for place, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - place) * p[i]))
        holm[i] = least
    for step in STEPS:
        if step not in found:
            yield step, "not measured", None
            continue
        difference, error, df = found[step]
        adjusted = holm[present.index(step)]
        half, ninety = (student.ppf(q, df) * error for q in (0.975, 0.95))
        interval = (difference - half, difference + half)
        if adjusted < 0.05:
            label = "appears" if difference < 0 else "reversed"
            if turns(study.get("rates"), *step):
                label = "depends on the learning rate"
        elif abs(difference) + ninety < MARGIN:
            label = "equivalent"
        else:
            label = "undecided"
        yield step, label, interval


def turns(rates, lower, upper):
    """Whether the sign at equal rates differs between the two methods' best rates."""
    tried = {t["method"]: t for t in (rates or {"methods": []})["methods"]}
    if lower not in tried or upper not in tried:
        return False

    def at(rate):
        losses = [
            next((c["validation_loss"] for c in tried[m]["candidates"]
                  if c["learning_rate"] == rate), None)
            for m in (lower, upper)
        ]
        return None if None in losses else losses[1] - losses[0]

    signs = [at(tried[m]["chosen"]) for m in (lower, upper)]
    return None not in signs and signs[0] * signs[1] < 0


def questions(data, layout):
    """Of each question of the test part the tokens of its prompt and its passage: the shortest one
    that stands in its story word for word."""
    stories = json.loads((data / "coqa-dev-v1.0.json").read_text())["data"]
    passages = sorted({story["story"] for story in stories}, key=lambda p: (len(p.encode()), p))
    for story in stories:
        passage = next(p for p in passages if p in story["story"])
        asked = [q["input_text"] for q in story["questions"]]
        told = [a["input_text"] for a in story["answers"]]
        for i, question in enumerate(asked):
            history = list(zip(asked[:i], told[:i]))
            prompt = layout.batch([(story["story"], history, question)])
            yield prompt["input_ids"].shape[1], passage


def slopes(study, out, data, backbone, checks, page):
    """The slopes of the losses on long inputs, their errors and the sentence about them."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "reports/python"))
    import inducer_tuning
    from transformers import AutoModelForCausalLM, AutoTokenizer

    long = study["long"]
    surface = long["rows"][0]["runs"][0]["configuration"]["surface"]
    model = AutoModelForCausalLM.from_pretrained(backbone)
    # an adapter brings the rows of the special tokens
    first = long["rows"][0]["runs"][0]["seed"]
    model = inducer_tuning.load(model, out / "runs" / f"long-inducer-seed{first}" / "best")
    layout = inducer_tuning.Coqa(AutoTokenizer.from_pretrained(backbone), model, surface)
    test = list(questions(data, layout))
    limit = long["rows"][0]["runs"][0]["configuration"]["test_limit"] or len(test)
    count = min(limit, len(test))
    chosen = [test[i * len(test) // count] for i in range(count)]
    x, passages = [math.log2(length) for length, _ in chosen], [passage for _, passage in chosen]
    # a run that scores less than twice the constant answer has not learnt the task
    least = 2 * (long["constant"] or {}).get("score", 0.0)
    learnt = {r["method"]: [run for run in r["runs"] if run["coqa"][1] >= least] for r in long["rows"]}
    runs = {r["method"]: [losses(out, r, run, "long-") for run in learnt[r["method"]]]
            for r in long["rows"]}
    tokens = [e["tokens"] for e in runs["inducer"][0]]

    def line(nats):
        """Level at the middle, slope, and each question's distance from the middle."""
        middle = sum(t * a for t, a in zip(tokens, x)) / sum(tokens)
        away = [a - middle for a in x]
        spread = sum(t * a * a for t, a in zip(tokens, away))
        slope = sum(a * n for a, n in zip(away, nats)) / spread
        return sum(nats) / sum(tokens), slope, away, spread

    for c in long["slopes"]:
        where = f"{c['lower']} -> {c['upper']} on long inputs"
        lower, upper = ([[e["nats"] for e in r] for r in runs[c[s]]] for s in ("lower", "upper"))
        each = [[line(nats)[1] for nats in side] for side in (lower, upper)]
        gap = [mean([r[i] for r in upper]) - mean([r[i] for r in lower]) for i in range(count)]
        level, slope, away, spread = line(gap)
        scores = Counter()
        for n, t, a, passage in zip(gap, tokens, away, passages):
            scores[passage] += a * (n - t * (level + slope * a))
        groups = len(scores)
        rest = groups / (groups - 1) * sum(s * s for s in scores.values()) / spread**2
        checks.number("slope of a loss", slope, c["difference"], 1e-9, where)
        checks.number("variance of the passages", rest, c["entry_variance"], 1e-12, where)
        checks.same("passages", groups, c["entries"], where)
        parts = [(rest, groups - 1)]
        for side, there in zip(each, c["seed_variances"]):
            variance = statistics.variance(side)
            checks.number("variance of the slopes", variance, there, 1e-12, where)
            parts.append((variance / len(side), len(side) - 1))
        error = math.sqrt(sum(v for v, _ in parts))
        half = student.ppf(0.975, error**4 / sum(v * v / n for v, n in parts)) * error
        low, high = signed(slope - half), signed(slope + half)
        said = f"{signed(slope)} nats a token (95 % interval {low} to {high}; {len(lower)} and"
        checks.same("sentence on the length", said in page, True, said)


def signed(x, digits=3):
    text = f"{x:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("+-")


def in_transformers(study, out, backbone, checks, test, count):
    """The losses of some entries' references, from the saved adapters."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "reports/python"))
    import inducer_tuning
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(backbone)
    for row in study["rows"]:
        for run in row["runs"]:
            folder = out / "runs" / f"{row['method']}-seed{run['seed']}" / "best"
            if not (folder / "adapter_config.json").exists():
                continue
            model = AutoModelForCausalLM.from_pretrained(backbone, dtype=torch.float32)
            model = inducer_tuning.load(model, folder).eval()
            layout = inducer_tuning.WebNlg(tokenizer, model, run["configuration"]["surface"])
            kept = losses(out, row, run)
            half = run["configuration"].get("dtype") == "bf16"
            for i in range(0, len(kept), max(1, len(kept) // count)):
                nats, tokens = entry_loss(torch, layout, model, test[i])
                where = f"{row['method']} seed {run['seed']} entry {i}"
                checks.same("target tokens", tokens, kept[i]["tokens"], where)
                kind = "loss in transformers" + (" (bf16 there)" if half else "")
                here, there = nats / tokens, kept[i]["nats"] / kept[i]["tokens"]
                checks.number(kind, here, there, 0.1 if half else 1e-4, where)


def entry_loss(torch, layout, model, entry):
    _, triples, texts = entry
    nats, tokens = 0.0, 0
    prompt = layout.batch([triples])
    ids, segments = (prompt[k][0].tolist() for k in ("input_ids", "token_type_ids"))
    for text in texts:
        target = layout.encode(layout.running(text)) + [layout.eos]
        row = torch.tensor([ids + target])
        kinds = torch.tensor([segments + [segments[-1]] * len(target)])
        with torch.no_grad():
            logits = model(input_ids=row, token_type_ids=kinds).logits[0].double()
        log_p = torch.log_softmax(logits[len(ids) - 1 : -1], -1)
        nats -= log_p[range(len(target)), target].sum().item()
        tokens += len(target)
    return nats, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--backbone")
    parser.add_argument("--long-data", type=Path)
    parser.add_argument("--long-backbone", help="where it is not the study's")
    parser.add_argument("--entries", type=int, default=20)
    args = parser.parse_args()
    study = json.loads((args.out / "report.json").read_text())
    page = (args.out / "report.md").read_text()
    test, seen = entries(args.data)
    checks = Checks()
    scores(study, args.out, checks, test, seen)
    found = steps(study, args.out, checks)
    titles = {row["method"]: row["title"] for row in study["rows"]}
    for (lower, upper), label, interval in judgements(study, found):
        line = f"**{label}** {titles.get(lower, lower)} → {titles.get(upper, upper)}: "
        if interval:
            low, high = map(signed, interval)
            value = signed(found[lower, upper][0])
            line += f"test loss {value} nats a token (95 % interval {low} to {high}"
        checks.same("sentence of a step", line in page, True, line)
    if args.backbone:
        in_transformers(study, args.out, args.backbone, checks, test, args.entries)
        if args.long_data:
            backbone = args.long_backbone or args.backbone
            slopes(study, args.out, args.long_data, backbone, checks, page)
    sys.exit(0 if checks.report() else 1)


if __name__ == "__main__":
    main()
