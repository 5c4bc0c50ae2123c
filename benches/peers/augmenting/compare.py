"""Misspelt rows as characters of a fixed width, written to disk: `batchwright augment` beside the Python pipeline.

    python benches/peers/augmenting/compare.py --batchwright target/release/batchwright [--rows 1200000] [--scale]

Rows like `01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview` (59 characters), every operation on
(benches/recipes/every.toml), characters to 72 tokens, one `.npy` of uint16. Each time is that of the whole process,
from its start to its end, with hashing the input, finding the vocabulary and making the output durable. pipeline.py,
beside this file, is measured on the same file between the rounds. With `--scale` also on one thread, and on 0.1 to 12
million rows. Times by stage come from a run of its own with `--profile`, which takes longer.

It prints one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parents[1] / "recipes" / "every.toml"
WIDTH = "72"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--batchwright", type=lambda words: Path(words).resolve(), required=True, help="the binary")
    option("--rows", type=int, default=1_200_000)
    option("--rounds", type=int, default=5)
    option("--scale", action="store_true", help="also on one thread, and on other numbers of rows")
    option("--no-peer", action="store_true", help="leave the Python pipeline out, which takes a minute")
    option("--folder", type=Path, help="where files are written; by default the system's temporary directory")
    return parser.parse_args()


def write_rows(rows, path):
    with path.open("w") as out:
        for row in range(rows):
            out.write("-".join(f"{(row + part) % 100:02}:ccinterview" for part in range(1, 5)) + "\n")


def run(binary, rows, folder, threads, *flags):
    """Seconds of the process, and its own summary."""
    for old in folder.glob("out.npy*"):
        old.unlink()
    summary = folder / "summary.json"
    command = [binary, "augment", rows, "--recipe", RECIPE, "--seed", "7", "--tokenize", "characters", "--width", WIDTH,
               "-o", folder / "out.npy", "--quiet", "--threads", str(threads), "--summary-json", summary]
    started = time.perf_counter()
    subprocess.run([str(word) for word in [*command, *flags]], check=True)
    return time.perf_counter() - started, json.loads(summary.read_text())


def median_of(rounds, measure):
    measured = [measure() for _ in range(rounds)]
    seconds = [seconds for seconds, _ in measured]
    return {
        "seconds": round(statistics.median(seconds), 3),
        "least": round(min(seconds), 3),
        "most": round(max(seconds), 3),
        "peak MiB": round(max(summary["peak_resident_bytes"] for _, summary in measured) / 2**20, 1),
    }


def main():
    options = parse()
    binary, threads = options.batchwright, os.cpu_count()
    report = {"machine": f"{platform.machine()}, {threads} threads", "python": platform.python_version()}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        rows = folder / "rows.txt"
        write_rows(options.rows, rows)
        whole = median_of(options.rounds, lambda: run(binary, rows, folder, threads))
        report["rows"] = options.rows
        report["batchwright"] = whole
        if not options.no_peer:
            peer = [sys.executable, HERE / "pipeline.py", "--rows", str(options.rows), "--data", rows, "--width", WIDTH]
            out = subprocess.run([str(word) for word in peer], check=True, capture_output=True, text=True).stdout
            report["peer"] = json.loads(out)
            again = median_of(options.rounds, lambda: run(binary, rows, folder, threads))
            report["batchwright after the peer"] = again
        _, profiled = run(binary, rows, folder, threads, "--profile")
        report["thread seconds by stage"] = {name: round(time, 3) for name, time in profiled["stages"].items()}
        if options.scale:
            report["by threads"] = {
                count: median_of(options.rounds, lambda count=count: run(binary, rows, folder, count))
                for count in (1, threads)
            }
            by_rows = report["by rows"] = {}
            for count in (100_000, 400_000, 1_200_000, 4_000_000, 12_000_000):
                write_rows(count, rows)
                by_rows[count] = median_of(3, lambda: run(binary, rows, folder, threads))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
