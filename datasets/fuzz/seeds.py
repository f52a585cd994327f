#!/usr/bin/env python3
"""Small sound inputs for the fuzz targets, most of them the goldens of datasets/tests.

python3 seeds.py        writes seeds/TARGET/ beside this file
"""

import gzip
import io
import json
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
HUB = HERE.parent / "tests/goldens/hub"
BETWEEN = b"\n=====\n"
# the places of the tasks in `Task::ALL`
TASKS = {"webnlg": 0, "gem": 0, "coqa": 1, "mnli": 2, "sst2": 3, "own": 5}


def write(target, name, data):
    folder = HERE / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def official():
    for name in ["train", "dev"]:
        write("webnlg_json", name, (HUB / f"webnlg/official/{name}.json").read_bytes())
    for name in ["train", "dev"]:
        write("coqa_json", name, (HUB / f"coqa/official/coqa-{name}-v1.0.json").read_bytes())
    for i, task in enumerate(["mnli", "sst2"]):
        for path in (HUB / task / "official").iterdir():
            write("glue_tsv", f"{task}-{path.name}", bytes([i]) + path.read_bytes())
    write(
        "webnlg_xml",
        "plain",
        b"""<?xml version="1.0"?><benchmark><entries>
<entry category="Food" eid="Id1" size="1"><originaltripleset><otriple>A | b | C</otriple>
</originaltripleset><modifiedtripleset><mtriple>A | b | "C"@en</mtriple></modifiedtripleset>
<lex comment="good" lid="Id1">A is b&amp;C&#x2603;.</lex><lex comment="" lang="ru"/></entry>
</entries></benchmark>""",
    )
    write(
        "webnlg_xml",
        "enriched",
        b"""\xef\xbb\xbf<entry category='City'><modifiedtripleset>
<otriple>A | b | C</otriple></modifiedtripleset><!-- x --><lex lang="en"><text><![CDATA[A <b>]]>
</text><template>T</template></lex></entry><entry category=""/>""",
    )


def tables():
    for task, number in TASKS.items():
        for path in (HUB / task).rglob("*"):
            target = HERE / f"table_{path.suffix[1:]}"
            if path.suffix in [".jsonl", ".csv", ".parquet", ".arrow"]:
                write(target.name, f"{task}-{path.name}", bytes([number]) + path.read_bytes())
    rows = [
        {"input": "a", "target": "b", "group": "g", "id": 1},
        {"input": "c", "target": "d e", "group": "h", "id": 2},
        {"input": "f", "target": "g", "group": "i", "id": 3},
        {"input": "h", "target": "i", "group": "j", "id": "4"},
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    write("table_jsonl", "generate", b"\4" + lines.encode())
    write("table_jsonl", "targets", b"\4" + b'{"input": "a", "targets": ["b", "c"]}\n\n{}\n')
    write("table_csv", "generate", b'\4input,targets,id\n"a, ""b""","[""c""]",1\nd,[],2\n')
    write("table_csv", "classify", b"\5text,text_pair,label,group\na,b,x,1\nc,d,y,2\ne,f,x,3\n")


def scorers():
    write("tercom_lines", "two", b"a b c (id1)\nc b (x) (id1)\n\n d\r\n (e)(id2)\n")
    members = {
        "function/english.words": "the\na\n",
        "nonbreaking/english.prefixes": "# no\nMr\nNo #NUMERIC_ONLY#\n",
        "synonym/english.synsets": "cat\n1 2\nfeline\n2\n",
        "synonym/english.exceptions": "mouse\nmice mouses\n",
    }
    jar = io.BytesIO()
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    write("meteor_files", "jar", b"\0" + jar.getvalue())
    table = "0.5\na cat\nthe cats\n0.1\nsat\nsit\n"
    write("meteor_files", "gz", b"\1" + gzip.compress(table.encode(), mtime=0))
    scored = BETWEEN.join([b"The mice sat.", b"a cat sat", b"No. 5, Mr. Cat's"])
    parts = [*(text.encode() for text in members.values()), table.encode()]
    write("meteor_texts", "all", BETWEEN.join([*parts, scored]))
    texts = [
        ["b c a d e f g h", "a b c d e f g h", "h g f e d c b a"],
        [
            "San Sebasti\u00e1n's runway is 18L/36R.",
            "The $1,000.5 (U.S.) &quot;-\n",
            "\u00dcber \u2603",
        ],
        ["a a a a b b b b", "b b b b a a a a", ""],
        [
            "\u0130 \ufb01 \u1e9e \u0301 \u200d \U0001f600",
            "\u4e2d\u6587 \u5854",
            "\u2019tis .. ... 3.5, a",
        ],
    ]
    for i, three in enumerate(texts):
        write("scorers", str(i), BETWEEN.join(text.encode() for text in three))


def tokenizers():
    alphabet = "abcdehilnorstuw"
    vocabulary = {c: i for i, c in enumerate(alphabet)}
    for token in ["\u0120", "th", "the", "in", "<s>", "</s>", "<unk>"]:
        vocabulary[token] = len(vocabulary)
    merges = ["t h", "th e", "i n"]
    text = "#version: 0.2\n" + "\n".join(merges) + "\n"
    plain = {k: v for k, v in vocabulary.items() if not k.startswith("<")}
    for name, words in [("gpt2", plain), ("roberta", vocabulary)]:
        write("tokenizer_bpe", name, json.dumps(words).encode() + BETWEEN + text.encode())
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    special = {
        "id": 30,
        "content": "<s>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    bpe = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "vocab": vocabulary,
        "merges": merges,
    }
    piece = {
        "type": "WordPiece",
        "unk_token": "<unk>",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    word = {"type": "WordLevel", "unk_token": "<unk>", "vocab": vocabulary}
    unigram = {
        "type": "Unigram",
        "unk_id": 0,
        "byte_fallback": False,
        "vocab": [["<unk>", 0.0], ["a", -1.0], ["the", -2.0], ["\u2581", -3.0]],
    }
    models = {
        "bpe": (bpe, None, level, level),
        "piece": (
            piece,
            {
                "type": "BertNormalizer",
                "clean_text": True,
                "lowercase": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
            },
            {"type": "BertPreTokenizer"},
            {"type": "WordPiece", "prefix": "##", "cleanup": True},
        ),
        "word": (word, {"type": "NFKC"}, {"type": "Whitespace"}, None),
        "unigram": (
            unigram,
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {
                "type": "Metaspace",
                "replacement": "\u2581",
                "prepend_scheme": "always",
                "split": True,
            },
            {
                "type": "Metaspace",
                "replacement": "\u2581",
                "prepend_scheme": "always",
                "split": True,
            },
        ),
    }
    for name, (model, normalizer, before, decoder) in models.items():
        whole = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [special],
            "normalizer": normalizer,
            "pre_tokenizer": before,
            "post_processor": None,
            "decoder": decoder,
            "model": model,
        }
        write("tokenizer_json", name, json.dumps(whole, ensure_ascii=False).encode())


for make in [official, tables, scorers, tokenizers]:
    make()
