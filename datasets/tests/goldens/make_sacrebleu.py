"""Makes sacrebleu.json: 200 random corpora, and sacrebleu's scores of them.

A corpus has 1-3 sentences with 1-3 references.

sacrebleu 2.6.0, Python 3.11 or later, seed below:  python make_sacrebleu.py > sacrebleu.json
Words are few, so that texts share them in another order (shifts); some need 13a's rules.
"""

import json
import random

from sacrebleu.metrics import BLEU, TER

rng = random.Random(20221)
PLAIN = "the a cat dog sat on mat in house".split()
ODD = [
    "3.5",
    "1,000",
    "U.S.",
    "don't",
    "well-known",
    "18L/36R",
    "(x)",
    "$5.",
    "a,b",
    "&amp;",
    "&quot;q&quot;",
    "1980-84",
    "é",
    "end.",
    "<skipped>",
    "The",
    "5%",
]


def text():
    return " ".join(
        rng.choice(ODD) if rng.random() < 0.15 else rng.choice(PLAIN)
        for _ in range(rng.randint(1, 14))
    )


def near(words):
    words = words.split()
    for _ in range(rng.randint(0, 3)):
        i, j = sorted((rng.randrange(len(words) + 1), rng.randrange(len(words) + 1)))
        part = words[i:j]
        del words[i:j]
        k = rng.randrange(len(words) + 1)
        words[k:k] = part if rng.random() < 0.8 else [rng.choice(PLAIN)]
    return " ".join(words) or "a"


corpora = []
for _ in range(200):
    count, sets = rng.randint(1, 3), rng.randint(1, 3)
    hyps = [text() for _ in range(count)]
    refs = [[near(h) if rng.random() < 0.8 else text() for _ in range(sets)] for h in hyps]
    columns = [list(c) for c in zip(*refs)]
    row = {"h": hyps, "r": refs}
    row["13a"] = BLEU(tokenize="13a", smooth_method="none").corpus_score(hyps, columns).score
    row["13a_lc"] = (
        BLEU(tokenize="13a", smooth_method="none", lowercase=True).corpus_score(hyps, columns).score
    )
    row["none"] = BLEU(tokenize="none", smooth_method="none").corpus_score(hyps, columns).score
    row["ter"] = TER().corpus_score(hyps, columns).score
    corpora.append(row)
print("[" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in corpora) + "]")
