"""Misspelt rows as characters of a fixed width, written to disk: `batchwright augment` beside Python pipelines.

    python benches/peers/augmenting/compare.py --batchwright target/release/batchwright [--rows 1200000] [--scale]

Rows like `01:ccinterview-02:ccinterview-03:ccinterview-04:ccinterview` (59 characters), every operation on
(benches/recipes/every.toml), characters to 72 tokens, one `.npy` of uint16. Each time is that of the whole process,
from its start to its end, of Batchwright as of Python: with reading, finding the vocabulary and making the output
durable; Batchwright's hashes its input besides. pipeline.py, beside this file, is measured in each of its styles on the
same file, between the rounds of Batchwright; what each style is and does stands there. A ratio is the seconds of Python to
the median of all rounds of Batchwright. With `--scale` also on one thread, and on 0.1 to 12 million rows. Times by stage come
from a run of its own with `--profile`, which takes longer.

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
STYLES = ("described", "tuned", "every")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--batchwright", type=lambda words: Path(words).resolve(), required=True, help="the binary")
    option("--rows", type=int, default=1_200_000)
    option("--rounds", type=int, default=5)
    option("--scale", action="store_true", help="also on one thread, and on other numbers of rows")
    option("--styles", nargs="*", choices=STYLES, default=STYLES, help="of the Python pipeline; together about two minutes")
    option("--python-rounds", type=int, default=1)
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


def python(rows, folder, style):
    """Seconds of the process, and what it says."""
    command = [sys.executable, HERE / "pipeline.py", "--style", style, "--rows", str(2**62), "--data", rows,
               "--width", WIDTH, "--output", folder / "python.npy", "--nlpaug-rows", "0"]
    started = time.perf_counter()
    out = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - started, json.loads(out)


def summed(seconds, peak):
    return {
        "seconds": round(statistics.median(seconds), 3),
        "least": round(min(seconds), 3),
        "most": round(max(seconds), 3),
        "peak MiB": round(peak / 2**20, 1),
    }


def median_of(rounds, measure):
    measured = [measure() for _ in range(rounds)]
    return summed([seconds for seconds, _ in measured], peak(measured))


def peak(measured):
    return max(summary["peak_resident_bytes"] for _, summary in measured)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or "unknown"
    return f"{name} ({platform.machine()})"


def threads_allowed():
    """Cores that this process may use, which may be fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count()


def main():
    options = parse()
    binary, threads = options.batchwright, threads_allowed()
    version = subprocess.run([str(binary), "--version"], check=True, capture_output=True, text=True).stdout.strip()
    report = {"batchwright version": version, "processor": processor(), "threads": threads,
              "python": platform.python_version()}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        rows = folder / "rows.txt"
        write_rows(options.rows, rows)
        report["rows"] = options.rows
        ours = [run(binary, rows, folder, threads) for _ in range(options.rounds)]
        peers = {}
        for style in options.styles:
            peers[style] = [python(rows, folder, style) for _ in range(options.python_rounds)]
            ours += [run(binary, rows, folder, threads) for _ in range(options.rounds)]
        report["batchwright"] = summed([seconds for seconds, _ in ours], peak(ours))
        for style, measured in peers.items():
            seconds = statistics.median(seconds for seconds, _ in measured)
            stages = {name: stage["seconds"] for name, stage in measured[-1][1]["stages"].items()}
            report[f"python, {style}"] = {
                "seconds": round(seconds, 2),
                "times as long": round(seconds / report["batchwright"]["seconds"], 1),
                "stages": stages,
            }
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
