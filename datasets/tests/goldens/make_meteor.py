"""Makes meteor.json: small resources, 40 random corpora, and METEOR 1.5's scores of them.

The resources are our own; a corpus has 2-5 sentences with 1-3 references.

    python make_meteor.py METEOR_JAR > meteor.json

METEOR 1.5 (meteor-1.5.jar as in the PyPI package pycocoevalcap 1.2, its SHA-256 is in the file),
OpenJDK 17.0.15, Python 3.11 or later, seed below. Function words, synonyms, exceptions and
paraphrases are those below, given with -s, -d and -a; abbreviations are the jar's own, of which the
texts use the two in PREFIXES.
"""

import gzip
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile

FUNCTION = "the a of on is and . ,".split()
SYNSETS = {
    "big": [1, 7],
    "large": [1],
    "quick": [2],
    "fast": [2, 3],
    "swift": [2],
    "house": [4],
    "home": [4, 5],
    "child": [6],
    "kid": [6],
    "firm": [3, 8],
}
EXCEPTIONS = {"child": ["children"], "mouse": ["mice"], "run": ["ran"]}
PARAPHRASES = [
    (0.4, "a lot of", "many"),
    (0.3, "many", "a lot of"),
    (0.2, "passed away", "died"),
    (0.1, "died", "passed away"),
    (0.2, "the house of", "owned by"),
    (0.2, "is situated in", "lies in"),
    (0.1, "near the sea", "on the coast"),
    (0.1, "near the sea", "by the water"),
]
PREFIXES = "Mr\nNo #NUMERIC_ONLY#\n"
WORDS = (
    "the a of on is and big large quick fast swift house houses home homes child children kid "
    "mouse mice run ran running runs firm "
    "many died sea coast water Mr. No. 5 1,000 U.S. it's well-known cats cat".split()
)
PHRASES = [
    "a lot of",
    "passed away",
    "the house of",
    "owned by",
    "is situated in",
    "lies in",
    "near the sea",
    "on the coast",
    "by the water",
]
rng = random.Random(20223)


def text():
    parts = [
        rng.choice(PHRASES) if rng.random() < 0.3 else rng.choice(WORDS)
        for _ in range(rng.randint(1, 9))
    ]
    return " ".join(parts) + rng.choice(["", ".", " .", "!"])


def near(sentence):
    words = sentence.split()
    for _ in range(rng.randint(0, 3)):
        i, j = sorted((rng.randrange(len(words) + 1), rng.randrange(len(words) + 1)))
        part = words[i:j]
        del words[i:j]
        k = rng.randrange(len(words) + 1)
        words[k:k] = part if rng.random() < 0.7 else rng.choice(PHRASES + WORDS).split()
    return " ".join(words) or "the"


def two_lines(table):
    return "".join(f"{word}\n{' '.join(map(str, rest))}\n" for word, rest in table.items())


def main(jar):
    with tempfile.TemporaryDirectory() as there:
        there = pathlib.Path(there)
        (there / "words").write_text("".join(w + "\n" for w in FUNCTION))
        (there / "synonym").mkdir()
        synsets = {w: [f"{i:08d}" for i in ids] for w, ids in SYNSETS.items()}
        (there / "synonym/english.synsets").write_text(two_lines(synsets))
        (there / "synonym/english.exceptions").write_text(two_lines(EXCEPTIONS))
        (there / "synonym/english.relations").write_text("")
        table = "".join(f"{p}\n{a}\n{b}\n" for p, a, b in PARAPHRASES)
        with gzip.open(there / "paraphrase.gz", "wt") as file:
            file.write(table)
        corpora = []
        for _ in range(40):
            sets = rng.randint(1, 3)
            hyps = [text() for _ in range(rng.randint(2, 5))]
            refs = [[near(h) if rng.random() < 0.8 else text() for _ in range(sets)] for h in hyps]
            (there / "h").write_text("".join(h + "\n" for h in hyps))
            (there / "r").write_text("".join(x + "\n" for r in refs for x in r))
            command = [
                "java",
                "-Xmx1G",
                "-jar",
                jar,
                "h",
                "r",
                "-l",
                "en",
                "-norm",
                "-r",
                str(sets),
                "-s",
                "words",
                "-d",
                "synonym",
                "-a",
                "paraphrase.gz",
            ]
            out = subprocess.run(
                command, cwd=there, capture_output=True, text=True, check=True
            ).stdout
            final = [
                line.split(":")[1].strip()
                for line in out.splitlines()
                if line.startswith("Final score:")
            ]
            corpora.append({"h": hyps, "r": refs, "meteor": float(final[0])})
    resources = {
        "jar_sha256": hashlib.sha256(pathlib.Path(jar).read_bytes()).hexdigest(),
        "function_words": "".join(w + "\n" for w in FUNCTION),
        "prefixes": PREFIXES,
        "synsets": two_lines(synsets),
        "exceptions": two_lines(EXCEPTIONS),
        "paraphrases": table,
    }
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in corpora)
    print(json.dumps(resources)[:-1] + ',\n"corpora": [' + lines + "]}")


main(str(pathlib.Path(sys.argv[1]).resolve()))
