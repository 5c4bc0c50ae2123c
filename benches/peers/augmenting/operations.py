"""The nineteen operations of benches/recipes/every.toml in Python: what pipeline.py measures as its style `every`.

Chances are the recipe's, tables are Batchwright's own (crates/text/src/augment/tables), and where an operation applies is
as docs/AUGMENTATION.md says. Where edits fall is drawn from one to the next, from the geometric distribution, so that a
row costs by its edits; what lies between them is copied by slices. Only ASCII's white space and whole code points are
told apart, which these rows have. Not bit-equal to Batchwright, and without protection, spans and seeds of rows.
"""

import math
import random
import re
import string
import tomllib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TABLES = ROOT / "crates" / "text" / "src" / "augment" / "tables"
MARKS = ".,;:!?-'"
IS_MARK = frozenset(string.punctuation)
IS_WHITE = frozenset(string.whitespace)


def read(path):
    return tomllib.loads(path.read_text())


def groups(name):
    """By their first character: what may stand there, and what may come for it."""
    table = {}
    for group in read(TABLES / name)["groups"]:
        for source in group:
            entry = table.setdefault(source[0], {}).setdefault(source, [])
            entry += [other for other in group if other != source and other not in entry]
    return {first: [*entries.items()] for first, entries in table.items()}


def neighbours(name):
    keyboard, table = read(TABLES / name), {}
    for level in ("rows", "shifted"):
        keys = [
            (key, column + offset, row)
            for row, (line, offset) in enumerate(zip(keyboard[level], keyboard["offsets"]))
            for column, key in enumerate(line)
            if key != " "
        ]
        for key, x, y in keys:
            around = [other for other, to_x, to_y in keys if other != key and math.hypot(x - to_x, y - to_y) <= 1.3]
            table.setdefault(key, []).extend(around)
    return table


def misspellings(name):
    table = {}
    for line in (TABLES / name).read_text().splitlines():
        if line and not line.startswith("#"):
            wrong, rights = line.split("->")
            for right in rights.split(", "):
                table.setdefault(right, []).append(wrong)
    return table


class Augmenter:
    """Edits rows. An edit is where it begins and ends and what comes there."""

    def __init__(self):
        recipe = read(ROOT / "benches" / "recipes" / "every.toml")
        self.alphabet = recipe["alphabet"]
        self.most = recipe["edits"]["max"]
        separators = re.escape(recipe["separators"])
        self.words_of = re.compile(rf"[^\s{separators}]+").finditer
        self.shuffled = recipe["shuffle-words"]["p"]
        self.keys = neighbours("qwerty.toml")
        self.confusions = {kind: groups(f"{name}.toml") for kind, name in
                           (("optical", "scans"), ("similar", "lookalikes"), ("accent", "accents"))}
        self.wrong = misspellings("english.txt")
        self.most_words = max(len(right.split()) for right in self.wrong)
        of_characters = dict(
            delete=self.delete, insert=self.insert, substitute=self.substitute, repeat=self.repeat, swap=self.swap,
            keyboard=self.keyboard, optical=self.table("optical"), similar=self.table("similar"),
            accent=self.table("accent"), case=self.case, space=self.space, punctuation=self.punctuation,
        )
        of_words = {
            "errors": self.errors, "drop-words": self.drop, "repeat-words": self.repeat_word, "split-words": self.split,
            "join-words": self.join, "capitals": self.capitals,
        }
        self.characters = self.process(recipe, of_characters)
        self.words = self.process(recipe, of_words)

    @staticmethod
    def process(recipe, operations):
        """For one draw of the next place and one of the operation there."""
        limits = [*accumulate(recipe[name]["p"] for name in operations)]
        return 1 / math.log1p(-limits[-1]), limits, limits[-1], [*operations.values()]

    def augment(self, text):
        chance, log = random.random, math.log
        words = None
        made = 0
        if chance() < self.shuffled:
            text, made = self.shuffle(text)
        edits = []
        scale, limits, total, operations = self.words
        words = [found.span() for found in self.words_of(text)]
        at, count = int(log(1 - chance()) * scale), len(words)
        while at < count:
            edit = operations[bisect_right(limits, chance() * total)](text, words, at)
            at += 1 + int(log(1 - chance()) * scale)
            if edit and not (edits and edits[-1][1] > edit[0]):
                edits.append(edit)
        of_words = edits[:]
        scale, limits, total, operations = self.characters
        at, count = int(log(1 - chance()) * scale), len(text)
        while at < count:
            edit = operations[bisect_right(limits, chance() * total)](text, at)
            at += 1
            if edit:
                start, end, _ = edit
                if not any(start < taken[1] and taken[0] < end for taken in of_words):
                    at = end
                    edits.append(edit)
            at += int(log(1 - chance()) * scale)
        if not edits:
            return text
        if len(edits) + made > self.most:
            edits = random.sample(edits, self.most - made)
        edits.sort()
        parts, copied = [], 0
        for start, end, new in edits:
            parts += text[copied:start], new
            copied = end
        parts.append(text[copied:])
        return "".join(parts)

    def shuffle(self, text):
        spans = [found.span() for found in self.words_of(text)]
        words = [text[start:end] for start, end in spans]
        if len(words) < 2:
            return text, 0
        order = [*range(len(words))]
        while order == sorted(order):
            random.shuffle(order)
        parts, copied = [], 0
        for (start, end), word in zip(spans, order):
            parts += text[copied:start], words[word]
            copied = end
        parts.append(text[copied:])
        return "".join(parts), 1

    # Characters.

    def delete(self, text, at):
        return None if text[at] in IS_WHITE else (at, at + 1, "")

    def insert(self, text, at):
        own = text[at]
        if own in IS_WHITE:
            return None
        new = random.choice(self.alphabet)
        return at, at + 1, new + own if random.random() < 0.5 else own + new

    def substitute(self, text, at):
        return None if text[at] in IS_WHITE else (at, at + 1, self.other(self.alphabet, text[at]))

    @staticmethod
    def other(characters, own):
        new = own
        while new == own:
            new = random.choice(characters)
        return new

    def repeat(self, text, at):
        return None if text[at] in IS_WHITE else (at, at + 1, text[at] * 2)

    def swap(self, text, at):
        own, following = text[at], text[at + 1 : at + 2]
        if not following or own == following or own in IS_WHITE or following in IS_WHITE:
            return None
        return at, at + 2, following + own

    def keyboard(self, text, at):
        around = self.keys.get(text[at])
        return around and (at, at + 1, random.choice(around))

    def table(self, kind):
        table = self.confusions[kind]

        def confuse(text, at):
            entries = table.get(text[at])
            if not entries:
                return None
            fitting = [(source, new) for source, all_new in entries if text.startswith(source, at) for new in all_new]
            if not fitting:
                return None
            source, new = random.choice(fitting)
            return at, at + len(source), new

        return confuse

    def case(self, text, at):
        own = text[at]
        other = own.swapcase()
        return None if own == other else (at, at + 1, other)

    def space(self, text, at):
        own = text[at]
        return (at, at + 1, "" if random.random() < 0.5 else own * 2) if own in IS_WHITE else None

    def punctuation(self, text, at):
        own = text[at]
        if own in IS_MARK:
            drawn = random.randrange(3)
            return at, at + 1, "" if drawn == 0 else own * 2 if drawn == 1 else self.other(MARKS, own)
        if own in IS_WHITE or (at + 1 < len(text) and text[at + 1] not in IS_WHITE):
            return None
        return at, at + 1, own + random.choice(MARKS)

    # Words.

    def errors(self, text, words, at):
        start = words[at][0]
        for last in range(min(at + self.most_words, len(words)) - 1, at - 1, -1):
            right = text[start : words[last][1]]
            for written in (right, right.strip(string.punctuation)):
                wrong = self.wrong.get(written) or self.wrong.get(written.lower())
                if wrong:
                    new = random.choice(wrong)
                    if written.isupper():
                        new = new.upper()
                    elif written[0].isupper():
                        new = new.capitalize()
                    begin = start + right.index(written)
                    return begin, begin + len(written), new
        return None

    def drop(self, text, words, at):
        if at:
            return words[at - 1][1], words[at][1], ""
        return (words[0][0], words[1][0], "") if len(words) > 1 else None

    def repeat_word(self, text, words, at):
        start, end = words[at]
        between = text[end : words[at + 1][0]] if at + 1 < len(words) else " "
        return start, end, text[start:end] + between + text[start:end]

    def split(self, text, words, at):
        start, end = words[at]
        if end - start < 2:
            return None
        middle = random.randrange(start + 1, end)
        return middle, middle, " "

    def join(self, text, words, at):
        return (words[at][1], words[at + 1][0], "") if at + 1 < len(words) else None

    def capitals(self, text, words, at):
        start, end = words[at]
        own = text[start:end]
        others = [other for other in (own.upper(), own.lower(), own.title()) if other != own]
        return (start, end, random.choice(others)) if others else None
