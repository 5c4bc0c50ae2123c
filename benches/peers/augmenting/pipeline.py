"""Misspelt rows as characters of a fixed width, as one would make them in Python; and nlpaug's character augmenters.

    python benches/peers/augmenting/pipeline.py [--style STYLE] [--rows N] [--data FILE] [--output FILE.npy] [--nlpaug-rows N]

The rows are like `01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview`, or the lines of `--data`. Each row is
augmented, then tokenised character by character with <BEG>, <END> and <PAD> to a fixed width; the ids of all rows are
written as one `.npy` of uint16 and made durable. There are three styles:

described   What people write who describe such a pipeline in words: for each row draw how many modifications it gets, and
            which (remove, substitute, insert a character, shuffle the words), by given probabilities; each draws a
            position and puts the string together again by slicing. Tokens row by row: a loop over characters, a look-up
            in a dictionary, lists that are padded, one array at the end. About as many edits a row as every.toml gives.
tuned       The same four modifications at about as many places, with what makes Python quick: one pass over a row, local
            names; tokens of a whole block at once in NumPy.
every       All nineteen operations of benches/recipes/every.toml with its chances and with Batchwright's own tables, tuned:
            random numbers are drawn from one edit to the next rather than for each character, tokens as in `tuned`. The
            same work as `batchwright augment` does, not the same edits.

nlpaug runs on the first `--nlpaug-rows` rows, RandomCharAug with each of its actions and KeyboardAug, as its examples
call it: a list of texts at once, default settings.

It prints one JSON object: seconds and rows/s of each stage and of the whole.
"""

import argparse
import json
import os
import platform
import random
import string
import tempfile
import time
from pathlib import Path

import numpy as np

ALPHABET = string.ascii_lowercase + string.digits
PAD, BEG, END, UNKNOWN = 0, 1, 2, 3
# Rows that become an array at once: as code points they take four times their text's memory.
BLOCK = 10_000


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--style", choices=("described", "tuned", "every"), default="described")
    option("--rows", type=int, default=100_000)
    option("--data", type=Path, help="text file, a row a line, instead of rows like the example")
    option("--width", type=int, default=72, help="tokens of a row, with <BEG> and <END>")
    option("--output", type=Path, help="where the tokens are written; by default to a file that is removed")
    option("--nlpaug-rows", type=int, default=0, help="rows for nlpaug")
    option("--seed", type=int, default=7)
    return parser.parse_args()


def interviews(rows):
    return ["-".join(f"{(row + part) % 100:02}:ccinterview" for part in range(1, 5)) for row in range(rows)]


# --- described ---


def remove(text):
    position = random.randrange(len(text))
    return text[:position] + text[position + 1 :]


def substitute(text):
    position = random.randrange(len(text))
    return text[:position] + random.choice(ALPHABET) + text[position + 1 :]


def insert(text):
    position = random.randint(0, len(text))
    return text[:position] + random.choice(ALPHABET) + text[position:]


def shuffle_words(text):
    words = text.split("-")
    random.shuffle(words)
    return "-".join(words)


# How many modifications a row gets (3.3 on average), and which: of a row of that many, a fifth is shuffled.
COUNTS, COUNT_PROBABILITIES = [0, 1, 2, 3, 4, 5, 6, 7], [0.03, 0.10, 0.20, 0.24, 0.20, 0.13, 0.07, 0.03]
MODIFICATIONS, PROBABILITIES = [remove, substitute, insert, shuffle_words], [0.31, 0.32, 0.31, 0.06]


def augment_row(text):
    count = random.choices(COUNTS, COUNT_PROBABILITIES)[0]
    for _ in range(count):
        modification = random.choices(MODIFICATIONS, PROBABILITIES)[0]
        if text:
            text = modification(text)
    return text


def augment_described(texts):
    return [augment_row(text) for text in texts]


def tokenise_row(text, ids, width):
    tokens = [BEG]
    for character in text[: width - 2]:
        tokens.append(ids.get(character, UNKNOWN))
    tokens.append(END)
    return tokens + [PAD] * (width - len(tokens))


def tokenise_described(texts, ids, width):
    return np.array([tokenise_row(text, ids, width) for text in texts], dtype=np.uint16)


# --- tuned ---

# The chance of each modification of a character, and of a row's shuffle.
REMOVE, SUBSTITUTE, INSERT, SHUFFLE = 0.0175, 0.0175, 0.0175, 0.2


def augment_tuned(texts):
    """Every row with its modifications."""
    chance, choice, shuffle = random.random, random.choice, random.shuffle
    substitute, insert = REMOVE + SUBSTITUTE, REMOVE + SUBSTITUTE + INSERT
    augmented = []
    for text in texts:
        if chance() < SHUFFLE:
            words = text.split("-")
            shuffle(words)
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


def tokenise_tuned(texts, ids, width):
    """The ids of all rows, cut and padded to the width: code points of a block as one array, looked up at once."""
    table = np.full(0x110000, UNKNOWN, dtype=np.uint16)
    for character, at in ids.items():
        table[ord(character)] = at
    room = width - 2
    tokens = np.full((len(texts), width), PAD, dtype=np.uint16)
    tokens[:, 0] = BEG
    for start in range(0, len(texts), BLOCK):
        block = texts[start : start + BLOCK]
        padded = "".join([text[:room].ljust(room) for text in block]).encode("utf-32-le")
        points = np.frombuffer(padded, dtype=np.uint32).reshape(len(block), room)
        lengths = np.minimum(np.fromiter(map(len, block), np.int64, len(block)), room)
        rows = tokens[start : start + BLOCK]
        rows[:, 1:-1] = np.where(np.arange(room) < lengths[:, None], table[points], PAD)
        rows[np.arange(len(block)), lengths + 1] = END
    return tokens


# --- every ---


def augment_every(texts):
    from operations import Augmenter

    return [*map(Augmenter().augment, texts)]


STYLES = {
    "described": (augment_described, tokenise_described),
    "tuned": (augment_tuned, tokenise_tuned),
    "every": (augment_every, tokenise_tuned),
}


def vocabulary(texts):
    return {c: at for at, c in enumerate(sorted(set().union(*texts)), start=UNKNOWN + 1)}


def write(tokens, path):
    with open(path, "wb") as out:
        np.save(out, tokens)
        out.flush()
        os.fsync(out.fileno())


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
    random.seed(args.seed)
    texts = args.data.read_text().splitlines()[: args.rows] if args.data else interviews(args.rows)
    augment, tokenise = STYLES[args.style]
    rows, stages = len(texts), {}
    start = time.perf_counter()
    augmented = timed(stages, "augment", rows, augment, texts)
    ids = timed(stages, "vocabulary", rows, vocabulary, augmented)
    tokens = timed(stages, "tokenise", rows, tokenise, augmented, ids, args.width)
    with tempfile.TemporaryDirectory() as directory:
        timed(stages, "write", rows, write, tokens, args.output or Path(directory) / "tokens.npy")
        seconds = time.perf_counter() - start
    report = dict(
        style=args.style, python=platform.python_version(), numpy=np.__version__, rows=rows, width=args.width,
        seconds=round(seconds, 4), rows_per_second=round(rows / seconds), stages=stages,
        example=dict(before=texts[0], after=augmented[0]),
    )
    if args.nlpaug_rows:
        report["nlpaug"] = dict(rows=min(rows, args.nlpaug_rows), stages=nlpaug_stages(texts[: args.nlpaug_rows]))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
