"""Raw strings to normalised embeddings: batchwright beside ONNX Runtime and sentence-transformers.

    cargo xtask bench --data queries.csv

which builds the binary, makes an environment with the packages of requirements.txt beside this file,
fetches the model, and runs this with their paths.

All run in turn within one invocation, round after round in another order, because machines drift:
medians and ratios count. Two files are measured: the first 4,000 texts of the data, and 1,500 texts
of mixed length (3 to 256 tokens, median 40) made of them with a fixed seed. Timed alike: from
strings in memory (batchwright: from the first row read of a CSV file) to the last vector, with
tokenising, without loading and warming up. The vectors are compared.

- ONNX Runtime: f32, exported here from the same weights, pooling and normalising in the graph;
  `encode_batch` of `tokenizers`; batches of 32 sorted by length, padded to the longest of each. The
  fastest of several settings: fused graph or plain, one session with all threads or one a thread.
- sentence-transformers: `encode` with batches of 32.
- batchwright: its own process; `seconds` of its `--summary-json`; without a cache. No text comes
  twice, so nothing is gained by computing equal rows once.
"""

import argparse
import csv
import json
import os
import platform
import random
import statistics
import sys
import tempfile
from pathlib import Path



def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    option("--model", type=Path, required=True, help="directory of all-MiniLM-L6-v2")
    option("--data", type=Path, required=True, help="CSV file with a column `text`")
    option("--batchwright", type=lambda path: Path(path).resolve(), required=True, help="the binary")
    option("--batchwright-args", default="", help="more arguments for it, in one string")
    option("--rounds", type=int, default=5)
    option("--threads", type=int, default=2)
    option("--rows", type=int, default=4000)
    option("--mixed-rows", type=int, default=1500)
    option("--skip", default="", help="of onnx,sentence-transformers, those to leave out")
    option("--json", type=Path, help="where the figures are written")
    return parser.parse_args()


def limit_threads(args):
    """Begins again with the variables that libraries read before they start their pools."""
    if os.environ.get("PEERS_THREADS_LIMITED"):
        return
    os.environ["PEERS_THREADS_LIMITED"] = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ.update(TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1")
    os.execv(sys.executable, [sys.executable, *sys.argv])


def load_tokenizer(args):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer


def mixed_texts(texts, rows, tokenizer):
    """Texts of 3 to 256 tokens, median 40, made of those given."""
    dice = random.Random(20240)
    out = []
    for _ in range(rows):
        wanted = min(256, max(3, round(dice.lognormvariate(3.689, 0.8))))
        joined = ""
        while len(tokenizer.encode(joined).ids) < wanted:
            joined = f"{joined} {dice.choice(texts)}".strip()
        # The last of the tokens that fit, less the closing special one.
        end = tokenizer.encode(joined).offsets[wanted - 2][1]
        out.append(joined[:end])
    return out


def measure(engines, texts, file, rounds):
    """Seconds by engine, and the vectors of the last round."""
    seconds, vectors = {e.name: [] for e in engines}, {}
    for engine in engines:
        if engine.name != "batchwright":  # It warms up by itself.
            engine.timed(texts[:256], None)
    for turn in range(rounds):
        for engine in engines[turn % len(engines) :] + engines[: turn % len(engines)]:
            took, vectors[engine.name] = engine.timed(texts, file)
            seconds[engine.name].append(took)
            print(f"  round {turn + 1}: {engine.name} {len(texts) / took:.0f} texts/s", file=sys.stderr)
    return seconds, vectors


def report(title, engines, texts, tokens, seconds, vectors):
    import numpy as np

    reference = next(n for n in ("sentence-transformers", "ONNX Runtime", "batchwright") if n in vectors)
    first = engines[0].name
    rows = []
    print(f"\n### {title}: {len(texts)} texts, {tokens} tokens\n")
    print(f"| engine | texts/s, median | slowest to fastest | tokens/s | ratio to {first} | least cosine |")
    print("|---|---|---|---|---|---|")
    for engine in engines:
        took = seconds[engine.name]
        middle = statistics.median(took)
        # Rounds are paired, so that drift between them cancels.
        ratio = statistics.median(a / b for a, b in zip(seconds[first], took))
        cosine = float((vectors[engine.name] * vectors[reference]).sum(1).min())
        rows.append(dict(engine=engine.name, setting=engine.label, seconds=took, ratio=ratio,
                         texts_per_second=len(texts) / middle, tokens_per_second=tokens / middle,
                         least_cosine_to=reference, least_cosine=cosine))
        print(f"| {engine.name} | {len(texts) / middle:.0f} | {len(texts) / max(took):.0f} to "
              f"{len(texts) / min(took):.0f} | {tokens / middle:.0f} | {ratio:.2f} | {cosine:.6f} |")
        lengths = np.linalg.norm(vectors[engine.name], axis=1)
        assert np.abs(lengths - 1).max() < 1e-3, f"{engine.name}: vectors are not of length 1"
        assert cosine > 0.9999, f"{engine.name}: vectors differ from {reference}'s: {cosine}"
    return dict(title=title, texts=len(texts), tokens=tokens, engines=rows)


def about(args):
    from importlib.metadata import version

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    packages = ("onnxruntime", "tokenizers", "torch", "transformers", "sentence-transformers")
    return dict(processor=(names or [platform.machine()])[0], cores=os.cpu_count(),
                system=platform.platform(), threads=args.threads, rounds=args.rounds,
                packages={name: version(name) for name in packages})


def main():
    args = parse()
    limit_threads(args)
    from engines import Batchwright, SentenceTransformers, best_onnx

    tokenizer = load_tokenizer(args)
    with open(args.data, newline="", encoding="utf-8") as file:
        distinct = dict.fromkeys(row["text"] for row in csv.DictReader(file))
        texts = list(distinct)[: args.rows]
    files = [("short queries", texts), ("mixed lengths", mixed_texts(texts, args.mixed_rows, tokenizer))]
    with tempfile.TemporaryDirectory() as name:
        folder, results = Path(name), []
        skipped = args.skip.split(",")
        engines = [best_onnx(args, folder, tokenizer, texts)] if "onnx" not in skipped else []
        engines += [SentenceTransformers(args)] if "sentence-transformers" not in skipped else []
        engines += [Batchwright(args, folder)]
        print(json.dumps(about(args)))
        for engine in engines:
            print(f"{engine.name}: {engine.label}")
        for title, rows in files:
            file = folder / f"{title.replace(' ', '-')}.csv"
            with open(file, "w", newline="", encoding="utf-8") as out:
                csv.writer(out).writerows([["text"], *([text] for text in rows)])
            lengths = sorted(len(e.ids) for e in tokenizer.encode_batch(rows))
            spread = f"{lengths[0]} to {lengths[-1]} tokens, median {lengths[len(lengths) // 2]}"
            seconds, vectors = measure(engines, rows, file, args.rounds)
            results.append(report(f"{title} ({spread})", engines, rows, sum(lengths), seconds, vectors))
    if args.json:
        args.json.write_text(json.dumps(dict(about(args), files=results), indent=1) + "\n")


if __name__ == "__main__":
    main()
