"""Makes tokens.json: byte-level BPEs, 300 random texts, and transformers' ids of them.

The BPEs are in the layout of `vocab.json` and `merges.txt`, one for GPT-2 and one for RoBERTa.

transformers 5.23.0, Python 3.11 or later, seed below:  python make_tokens.py > tokens.json
Texts are drawn from many scripts, combining marks, emoji with joiners, controls, runs of white
space, numbers, contractions and the special tokens' own names.
"""

import json
import os
import random
import sys
import tempfile

from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Tokenizer, RobertaTokenizer

rng = random.Random(20222)
WORDS = (
    "the reader's don't I'll we've they're 1984 3.14 e.g. naïve café Zürich the inducer tunes "
    "tuning tuned prefix prefixes"
).split()
SCRIPTS = [
    (0x20, 0x7E),
    (0xA0, 0x17F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x590, 0x5FF),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0xE00, 0xE7F),
    (0x300, 0x36F),
    (0x2000, 0x206F),
    (0x3040, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xAC00, 0xACFF),
    (0xFE00, 0xFE0F),
    (0x1F300, 0x1F64F),
    (0x1F900, 0x1F9FF),
    (0x0, 0x1F),
    (0xFFF0, 0xFFFD),
    (0x10000, 0x100FF),
]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u3000", "   \n "]


def text(special):
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(WORDS))
        elif kind < 0.5:
            parts.append(rng.choice(SPACES))
        elif kind < 0.55:
            parts.append(rng.choice(special))
        elif kind < 0.6:
            parts.append("👩‍👩‍👧‍👦 e\u0301 ﬁ Ǆ")
        else:
            low, high = rng.choice(SCRIPTS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6))))
        if rng.random() < 0.6:
            parts.append(" ")
    return "".join(parts)


def family(cls, special):
    corpus = [text([" "]) for _ in range(300)] + [
        " ".join(rng.choice(WORDS) for _ in range(20)) for _ in range(100)
    ]
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        corpus,
        vocab_size=256 + len(special) + 120,
        min_frequency=2,
        special_tokens=special,
        show_progress=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        trained.save_model(folder)
        read = lambda name: open(os.path.join(folder, name), encoding="utf-8").read()
        vocab, merges = json.loads(read("vocab.json")), read("merges.txt")
        tokenizer = cls(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt"))
        cases = []
        for _ in range(150):
            t = text(special)
            ids = tokenizer(t, add_special_tokens=False)["input_ids"]
            cases.append(
                {
                    "text": t,
                    "ids": ids,
                    "decoded": tokenizer.decode(
                        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
                    ),
                }
            )
    return {"vocab": vocab, "merges": merges, "cases": cases}


out = {
    "gpt2": family(GPT2Tokenizer, ["<|endoftext|>"]),
    "roberta": family(RobertaTokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
}
json.dump(out, sys.stdout, indent=None, separators=(",", ":"))
