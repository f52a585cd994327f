#!/usr/bin/env python3
"""Small data sets in the official layouts and, the same entries, as the Hub has them.

    python3 make_hub.py        writes hub/ beside this file

Made with datasets 4.0.0 and pyarrow 21.0.0: `Dataset.to_parquet` with the features of nyu-mll/glue,
stanfordnlp/coqa, web_nlg and GEM/web_nlg (class names, sequences of records), and `to_json`. The
CSV of the flat ones is `to_csv`'s.
"""

import json
import shutil
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Sequence, Value
from datasets.arrow_writer import ArrowWriter

HERE = Path(__file__).parent / "hub"
TEXT = Value("string")


def write(folder, part, rows, features, csv=True, shards=1):
    """A part as Parquet, as Arrow, as JSON lines and as CSV."""
    data = Dataset.from_list(rows, features=Features(features))
    for kind in ["parquet", "arrow", "jsonl", "csv"]:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in range(shards):
        name = f"{part}-{i:05}-of-{shards:05}.parquet"
        data.shard(shards, i, contiguous=True).to_parquet(folder / "parquet" / name)
    # as load_dataset leaves it in its cache
    with ArrowWriter(path=str(folder / "arrow" / f"{folder.name}-{part}.arrow"),
                     features=data.features) as writer:
        writer.write_table(data.data.table)
        writer.finalize()
    data.to_json(folder / "jsonl" / f"{part}.jsonl")
    if csv:
        data.to_csv(folder / "csv" / f"{part}.csv", index=False)


def lists(records):
    """A sequence of records as a record of lists, which is how `datasets` keeps it."""
    return {name: [record[name] for record in records] for name in records[0]}


def official(folder, name, text):
    (folder / "official").mkdir(parents=True, exist_ok=True)
    (folder / "official" / name).write_text(text, encoding="utf-8")


def table(names, rows):
    return "".join("\t".join(map(str, row)) + "\n" for row in [names, *rows])


def sst2():
    folder = HERE / "sst2"
    train = [("a fine film", 1), ('"half a quote, and more', 0), ("it is dull ", 0),
             ("été à la plage", 1), ("no, thanks", 0)]
    dev = [("great", 1), ("a mess", 0)]
    test = [("who knows", -1)]
    label = ClassLabel(names=["negative", "positive"])
    features = {"sentence": TEXT, "label": label, "idx": Value("int32")}
    for part, rows in [("train", train), ("validation", dev), ("test", test)]:
        rows = [{"sentence": s, "label": c, "idx": i} for i, (s, c) in enumerate(rows)]
        write(folder, part, rows, features, shards=2 if part == "train" else 1)
    official(folder, "train.tsv", table(["sentence", "label"], train))
    official(folder, "dev.tsv", table(["sentence", "label"], dev))


def mnli():
    folder = HERE / "mnli"
    names = ["entailment", "neutral", "contradiction"]
    label = ClassLabel(names=names)
    features = {"premise": TEXT, "hypothesis": TEXT, "label": label, "idx": Value("int32")}
    parts = {
        "train": [("A man walks.", "Someone moves.", 0), ("A man walks.", "He walks home.", 1),
                  ("A man, old, walks.", "He sits.", 2), ("It rains.", "It is wet.", 0)],
        "dev_matched": [("One.", "1", 0), ("Two.", "3", 2)],
        "dev_mismatched": [("Red.", "A colour.", 0), ("Blue.", "The sky.", 1)],
    }
    for part, rows in parts.items():
        lines = [(p, h, names[c]) for p, h, c in rows]
        official(folder, f"{part}.tsv", table(["sentence1", "sentence2", "gold_label"], lines))
        rows = [{"premise": p, "hypothesis": h, "label": c, "idx": i}
                for i, (p, h, c) in enumerate(rows)]
        write(folder, part.replace("dev", "validation"), rows, features)


def coqa():
    folder = HERE / "coqa"
    answers = Sequence({"input_text": TEXT, "answer_start": Value("int32"),
                        "answer_end": Value("int32")})
    features = {"source": TEXT, "story": TEXT, "questions": Sequence(TEXT), "answers": answers}
    parts = {
        "train": [("cnn", "Tom is a cat. He is red.", [("Who?", "Tom"), ("What?", "a cat"),
                                                       ("Colour?", "red"), ("Sure?", "yes")]),
                  ("race", "Ann runs.", [("Who runs?", "Ann")])],
        "validation": [("wikipedia", "Rome is old.", [("Is it?", "yes"), ("What?", "Rome")])],
    }
    for part, stories in parts.items():
        data, rows = [], []
        for source, story, turns in stories:
            item = lambda i, text: {"turn_id": i + 1, "input_text": text}
            data.append({"source": source, "story": story,
                         "questions": [item(i, q) for i, (q, _) in enumerate(turns)],
                         "answers": [item(i, a) for i, (_, a) in enumerate(turns)]})
            rows.append({"source": source, "story": story, "questions": [q for q, _ in turns],
                         "answers": lists([{"input_text": a, "answer_start": -1, "answer_end": -1}
                                           for _, a in turns])})
        name = {"train": "coqa-train-v1.0.json", "validation": "coqa-dev-v1.0.json"}[part]
        official(folder, name, json.dumps({"version": 1, "data": data}, indent=1))
        write(folder, part, rows, features, csv=False)


# category, triples, texts with their comments
WEBNLG = {
    "train": [
        ("Airport", ["Aarhus_Airport | cityServed | \"Aarhus, Denmark\""],
         [("Aarhus airport serves Aarhus, Denmark.", "good"), ("The airport of Aarhus.", "good"),
          ("Aarhus aarhus.", "bad")]),
        ("Food", ["Ajoblanco | country | Spain", "Ajoblanco | region | Andalusia"],
         [("Ajoblanco is from Andalusia, Spain.", "good")]),
    ],
    "dev": [("Food", ["Paella | country | Spain"], [("Paella is Spanish.", "good")])],
    "test": [("Food", ["Pie | country | England"], [("Pie is English.", "good"),
                                                    ("England has pie.", "good")]),
             ("Planet", ["Mars | colour | red"], [("Mars is red.", "good")])],
}


def webnlg():
    folder = HERE / "webnlg"
    triples = {"mtriple_set": Sequence(Sequence(TEXT))}
    lex = {name: Sequence(TEXT) for name in ["comment", "lid", "text", "lang"]}
    features = {"category": TEXT, "size": Value("int32"), "eid": TEXT,
                "modified_triple_sets": triples, "lex": lex}
    for part, entries in WEBNLG.items():
        rows, data = [], []
        for i, (category, facts, texts) in enumerate(entries):
            rows.append({"category": category, "size": len(facts), "eid": f"Id{i + 1}",
                         "modified_triple_sets": {"mtriple_set": [facts]},
                         "lex": lists([{"comment": c, "lid": f"Id{k}", "text": t, "lang": "en"}
                                       for k, (t, c) in enumerate(texts)])})
            spo = [dict(zip(["subject", "property", "object"], f.split(" | "))) for f in facts]
            data.append({str(i + 1): {"category": category, "modifiedtripleset": spo,
                                      "lexicalisations": [{"comment": c, "lex": t}
                                                          for t, c in texts]}})
        official(folder, f"{part}.json", json.dumps({"entries": data}, indent=1))
        write(folder, part, rows, features, csv=False)


def gem():
    folder = HERE / "gem"
    features = {"gem_id": TEXT, "gem_parent_id": TEXT, "input": Sequence(TEXT), "target": TEXT,
                "references": Sequence(TEXT), "category": TEXT, "webnlg_id": TEXT}
    for part, entries in WEBNLG.items():
        rows = []
        for i, (category, facts, texts) in enumerate(entries):
            texts = [t for t, comment in texts if comment == "good"]
            row = {"input": facts, "category": category,
                   "webnlg_id": f"{part}/{category}/{len(facts)}/Id{i + 1}"}
            if part == "train":
                rows += [{**row, "target": t, "references": []} for t in texts]
            else:
                rows.append({**row, "target": texts[0], "references": texts})
        for i, row in enumerate(rows):
            row["gem_id"] = row["gem_parent_id"] = f"web_nlg_en-{part}-{i}"
        write(folder, part.replace("dev", "validation"), rows, features, csv=False)


def own():
    """Two of one's own with class names and numbers in Parquet."""
    folder = HERE / "own"
    label = ClassLabel(names=["spam", "ham", "eggs"])
    features = {"text": TEXT, "label": label}
    for part, rows in [("train", [("buy now", 0), ("hello", 1), ("win", 0)]),
                       ("validation", [("free", 0)]), ("test", [("dear friend", 1)])]:
        rows = [{"text": t, "label": c} for t, c in rows]
        write(folder, part, rows, features)
    zstd = Dataset.from_list([{"text": "a" * 50, "label": 0}] * 20, features=Features(features))
    zstd.to_parquet(folder / "zstd.parquet", compression="zstd")
    dates = Dataset.from_dict({"text": [b"bytes"], "label": [0]})
    dates.to_parquet(folder / "bytes.parquet")


if __name__ == "__main__":
    shutil.rmtree(HERE, ignore_errors=True)
    for make in [sst2, mnli, coqa, webnlg, gem, own]:
        make()
