"""Misspelt rows as characters of a fixed width, as one would make them in Python; and nlpaug's character augmenters.

    python benches/peers/augmenting/pipeline.py [--rows N] [--data FILE] [--output FILE.npy] [--nlpaug-rows N]

The rows are like `01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview`, or the lines of `--data`. Each row is
augmented (characters removed, substituted and inserted, words shuffled: several modifications by given
probabilities), then tokenised character by character with <BEG>, <END> and <PAD> to a fixed width; the ids of all rows
are written as one `.npy` of uint16. Plain Python where it is the fastest way to go through characters, NumPy where whole
arrays can be handled: loops are over local names, substitution is one pass over a row, lists become arrays in blocks.

nlpaug runs on the first `--nlpaug-rows` rows, RandomCharAug with each of its actions and KeyboardAug, as its examples
call it: a list of texts at once, default settings.

It prints one JSON object: seconds and rows/s of each stage and of the whole.
"""

import argparse
import json
import platform
import random
import string
import tempfile
import time
from pathlib import Path

import numpy as np

ALPHABET = string.ascii_lowercase + string.digits
# The chance of each modification of a character, and of a row's shuffle.
REMOVE, SUBSTITUTE, INSERT, SHUFFLE = 0.02, 0.02, 0.02, 0.2
PAD, BEG, END, UNKNOWN = 0, 1, 2, 3
# Rows that become an array at once: as lists of ints they take fifty times the memory.
BLOCK = 10_000


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--rows", type=int, default=100_000)
    option("--data", type=Path, help="text file, a row a line, instead of rows like the example")
    option("--width", type=int, default=72, help="tokens of a row, with <BEG> and <END>")
    option("--output", type=Path, help="where the tokens are written; by default to a file that is removed")
    option("--nlpaug-rows", type=int, default=2_000, help="rows for nlpaug; 0 leaves it out")
    option("--seed", type=int, default=7)
    return parser.parse_args()


def interviews(rows):
    return ["-".join(f"{(row + part) % 100:02}:ccinterview" for part in range(1, 5)) for row in range(rows)]


def augment(texts, rng):
    """Every row with its modifications."""
    chance, choice = rng.random, rng.choice
    substitute, insert = REMOVE + SUBSTITUTE, REMOVE + SUBSTITUTE + INSERT
    augmented = []
    for text in texts:
        if chance() < SHUFFLE:
            words = text.split("-")
            rng.shuffle(words)
            text = "-".join(words)
        out = []
        for c in text:
            drawn = chance()
            if drawn >= insert:
                out.append(c)
            elif drawn >= substitute:
                out.append(choice(ALPHABET))
                out.append(c)
            elif drawn >= REMOVE:
                out.append(choice(ALPHABET))
        augmented.append("".join(out))
    return augmented


def vocabulary(texts):
    return {c: at for at, c in enumerate(sorted(set().union(*texts)), start=UNKNOWN + 1)}


def tokenise(texts, ids, width):
    """The ids of all rows, cut and padded to the width."""
    tokens = np.full((len(texts), width), PAD, dtype=np.uint16)
    look_up = ids.get
    for start in range(0, len(texts), BLOCK):
        rows = []
        for text in texts[start : start + BLOCK]:
            row = [BEG, *[look_up(c, UNKNOWN) for c in text[: width - 2]], END]
            row += [PAD] * (width - len(row))
            rows.append(row)
        tokens[start : start + BLOCK] = rows
    return tokens


def timed(stages, name, rows, work, *arguments):
    start = time.perf_counter()
    result = work(*arguments)
    seconds = time.perf_counter() - start
    stages[name] = dict(seconds=round(seconds, 4), rows_per_second=round(rows / seconds))
    return result


def nlpaug_stages(texts):
    import nlpaug.augmenter.char as nac

    stages = {}
    for action in ("substitute", "insert", "delete", "swap"):
        timed(stages, f"RandomCharAug {action}", len(texts), nac.RandomCharAug(action=action).augment, texts)
    timed(stages, "KeyboardAug", len(texts), nac.KeyboardAug().augment, texts)
    return stages


def main():
    args = parse()
    texts = args.data.read_text().splitlines()[: args.rows] if args.data else interviews(args.rows)
    rows, stages = len(texts), {}
    start = time.perf_counter()
    augmented = timed(stages, "augment", rows, augment, texts, random.Random(args.seed))
    ids = timed(stages, "vocabulary", rows, vocabulary, augmented)
    tokens = timed(stages, "tokenise", rows, tokenise, augmented, ids, args.width)
    with tempfile.TemporaryDirectory() as directory:
        timed(stages, "write", rows, np.save, args.output or Path(directory) / "tokens.npy", tokens)
        seconds = time.perf_counter() - start
    report = dict(
        python=platform.python_version(), numpy=np.__version__, rows=rows, width=args.width,
        seconds=round(seconds, 4), rows_per_second=round(rows / seconds), stages=stages,
        example=dict(before=texts[0], after=augmented[0]),
    )
    if args.nlpaug_rows:
        report["nlpaug"] = dict(rows=min(rows, args.nlpaug_rows), stages=nlpaug_stages(texts[: args.nlpaug_rows]))
    print(json.dumps(report, indent=2))


main()
