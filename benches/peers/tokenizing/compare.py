"""A million rows of text to token ids: `batchwright tokenize` beside `encode_batch` of the package tokenizers.

    python benches/peers/tokenizing/compare.py --batchwright target/release/batchwright \
        --tokenizer all-MiniLM-L6-v2/tokenizer.json --data queries.txt [--rows 1000000] [--width 32]

The data is a text file, a row a line, repeated until there are enough rows. Both read it, cut and pad every row to
`--width` tokens, and write one `.npy` of uint16, in turn, `--rounds` times; the arrays are compared.

- encode_batch: with TOKENIZERS_PARALLELISM on, in blocks of 10,000 rows (larger ones were no faster here and take the
  memory of all rows), padding and truncation by the package. Its own seconds are told apart from those of the whole
  (reading, making arrays of the ids, writing).
- batchwright: the process from its start to its end, which includes hashing the input and making the output durable.

It prints one JSON object, with the medians and the ratios of the same round.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "true"

import numpy as np  # noqa: E402
import tokenizers  # noqa: E402

BLOCK = 10_000


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--batchwright", type=lambda words: Path(words).resolve(), required=True, help="the binary")
    option("--tokenizer", type=Path, required=True, help="tokenizer.json")
    option("--data", type=Path, required=True, help="text file, a row a line")
    option("--rows", type=int, default=1_000_000)
    option("--width", type=int, default=32)
    option("--rounds", type=int, default=3)
    return parser.parse_args()


def repeated(data, rows, path):
    lines = [line for line in data.read_text().splitlines() if line]
    with path.open("w") as out:
        for row in range(rows):
            out.write(lines[row % len(lines)] + "\n")


def encode_batch(options, rows, path):
    tokenizer = tokenizers.Tokenizer.from_file(str(options.tokenizer))
    tokenizer.enable_truncation(options.width)
    tokenizer.enable_padding(length=options.width)
    started = time.perf_counter()
    texts = rows.read_text().splitlines()
    ids = np.lib.format.open_memmap(path, "w+", np.uint16, (len(texts), options.width))
    encoding = 0.0
    for at in range(0, len(texts), BLOCK):
        before = time.perf_counter()
        encoded = tokenizer.encode_batch(texts[at : at + BLOCK])
        encoding += time.perf_counter() - before
        ids[at : at + BLOCK] = [row.ids for row in encoded]
    ids.flush()
    return {"whole": time.perf_counter() - started, "encode_batch": encoding}


def batchwright(options, rows, path):
    for old in path.parent.glob(path.name + "*"):
        old.unlink()
    command = [options.batchwright, "tokenize", rows, "--tokenize", options.tokenizer, "--width", str(options.width),
               "-o", path, "--quiet"]
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True)
    return {"whole": time.perf_counter() - started}


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def version(binary):
    return subprocess.run([str(binary), "--version"], check=True, capture_output=True, text=True).stdout.strip()


def main():
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rows = folder / "rows.txt"
        repeated(options.data, options.rows, rows)
        theirs, ours = [], []
        for _ in range(options.rounds):
            ours.append(batchwright(options, rows, folder / "ours.npy"))
            theirs.append(encode_batch(options, rows, folder / "theirs.npy"))
        a, b = (np.load(folder / name, mmap_mode="r") for name in ("ours.npy", "theirs.npy"))
        median = lambda times: statistics.median(times)  # noqa: E731
        ratios = lambda key: median(b[key] / a["whole"] for a, b in zip(ours, theirs))  # noqa: E731
        whole = median(time["whole"] for time in ours)
        print(json.dumps({
            "processor": f"{processor()} ({platform.machine()})",
            "threads": len(os.sched_getaffinity(0)),
            "versions": {"batchwright": version(options.batchwright), "tokenizers": tokenizers.__version__, "python": platform.python_version(),
                         "numpy": np.__version__},
            "rows": options.rows,
            "width": options.width,
            "equal": bool(np.array_equal(a, b)),
            "batchwright seconds": round(whole, 3),
            "batchwright rows/s": round(options.rows / whole),
            "encode_batch alone seconds": round(median(time["encode_batch"] for time in theirs), 3),
            "encode_batch alone rows/s": round(options.rows / median(time["encode_batch"] for time in theirs)),
            "whole pipeline seconds": round(median(time["whole"] for time in theirs), 3),
            "ratio to encode_batch alone": round(ratios("encode_batch"), 1),
            "ratio to the whole pipeline": round(ratios("whole"), 1),
        }, indent=2))


if __name__ == "__main__":
    main()
