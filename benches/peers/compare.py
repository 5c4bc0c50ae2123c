"""Raw strings to normalised embeddings: batchwright beside the engines that people use for it.

    cargo xtask bench --data queries.csv

which builds the binary, makes an environment with the packages of requirements.txt beside this file,
fetches the model, and runs this with their paths.

Engines: ONNX Runtime, OpenVINO and CTranslate2 in f32 and int8, sentence-transformers, batchwright
with each `--precision`; with `--rust-peers BINARY` (crate `rust` beside this file) rten and candle.
Each is a process of its own, which is idle while another is measured.

Workloads, from the texts of the data:

- short: the first 4,000;
- mixed: 1,500 of mixed length (3 to 256 tokens, median 40), made of them with a fixed seed;
- long: 200 of 256 tokens, where MiniLM cuts;
- query: one of 10 tokens after the other, 500 after 100 to warm up.

Models: MiniLM, and the shapes of DistilBERT and BERT-base with random weights, on fewer texts.

Before the rounds each peer's settings are searched on a sample of the same texts (graph, workers and
their threads, texts in a batch: one after the other, each at the best of those before). All engines
then run in turn, round after round in another order, because machines drift: medians count, and
ratios of the same round. Timed alike: from strings in memory (batchwright: from the first row read of
a CSV file) to the last vector, with tokenising, without loading and warming up. No text comes twice,
so nothing is gained by computing equal rows once. A run during which processes other than the engine's
took over 3 % of the processors is repeated, and the least disturbed one counts. The vectors are compared with those of PyTorch
(sentence-transformers). Peak memory is that of each engine's process with the one workload.

The results go to `--json`, part by part: a call replaces the parts that it measures and keeps the rest.
report.py makes the tables and the chart of it.
"""

import argparse
import csv
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ("onnxruntime", "openvino", "nncf", "ctranslate2", "tokenizers", "torch", "transformers", "sentence-transformers")
# Texts by model and workload, and the tokens of the sample that settings are searched on.
ROWS = {"minilm": dict(short=4000, mixed=1500, long=200), "distilbert": dict(short=300, mixed=60, long=20),
        "bert-base": dict(short=300, mixed=60, long=20)}
SAMPLE = {"minilm": 3000, "distilbert": 2000, "bert-base": 2000}
WARM, QUERIES = 100, 500


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option = parser.add_argument
    path = lambda text: Path(text).resolve()  # noqa: E731
    words = lambda text: text.split(",")  # noqa: E731
    option("--model", type=path, required=True, help="directory of all-MiniLM-L6-v2")
    option("--data", type=path, required=True, help="CSV file with a column `text`")
    option("--batchwright", type=path, required=True, help="the binary")
    option("--batchwright-args", default="", help="more arguments for it, in one string")
    option("--rust-peers", type=path, help="the binary of the crate `rust` beside this file")
    option("--models", type=words, default=list(ROWS), help="of minilm,distilbert,bert-base")
    option("--workloads", type=words, default=["short", "mixed", "long", "query"])
    option("--engines", type=words, help="those to measure; by default all that can be")
    option("--rounds", type=int, default=5)
    option("--threads", type=int, default=2)
    option("--json", type=path, default="peers.json", help="where the figures are written")
    option("--work", type=path, help="where converted models stay; by default they do not")
    option("--retries", type=int, default=2, help="how often a run is repeated that other processes disturbed")
    option("--lock", type=path, help="file locked while something is timed, for a machine that is shared")
    return parser.parse_args()


def limit_threads(args):
    """Begins again with the variables that libraries read before they start their pools."""
    if os.environ.get("PEERS_THREADS_LIMITED"):
        return
    os.environ["PEERS_THREADS_LIMITED"] = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RTEN_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    os.environ.update(TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1")
    os.execv(sys.executable, [sys.executable, *sys.argv])


class Peer:
    """A process of engines.py, or one that answers the same requests."""

    def __init__(self, name, command):
        self.name, self.setting = name, None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def load(self, setting):
        self.setting = setting
        self.ask(load=setting)

    def seconds(self, work, vectors=None):
        return self.ask(embed=str(work.json), vectors=vectors and str(vectors))["seconds"]

    def latency(self, work):
        return percentiles(self.ask(single=str(work.json), warm=WARM)["times"])

    def memory(self):
        return self.ask(memory=True)["bytes"]

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Batchwright:
    """Its own process for each run; the most memory of any."""

    setting = None

    def __init__(self, name, args, model, folder):
        self.name, self.folder, self.most = name, folder, 0
        self.rest = ["--model", model, "--threads", str(args.threads), "--quiet",
                     "--precision", name.removeprefix("batchwright-"), *args.batchwright_args.split()]
        self.binary = args.batchwright

    def run(self, *words):
        process = subprocess.Popen([self.binary, *words, *self.rest])
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} ended with {process.returncode}")
        self.most = max(self.most, usage.ru_maxrss * 1024)

    def seconds(self, work, vectors=None):
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        out, summary = self.folder / "out.parquet", self.folder / "summary.json"
        self.run("embed", work.csv, "-o", out, "--cache", "off", "--summary-json", summary)
        if vectors:
            column = next(c for c in pq.read_table(out).columns if pa.types.is_fixed_size_list(c.type))
            flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
            np.save(vectors, flat.reshape(work.count, -1).astype(np.float32))
        for made in self.folder.glob("out.parquet*"):
            made.unlink()
        # From the first row read to the last answer.
        return json.loads(summary.read_text())["seconds"]

    def latency(self, work):
        report = self.folder / "bench.json"
        self.run("bench", work.csv, "--rows", str(QUERIES), "--queries", str(QUERIES), "--rounds", "1",
                 "--try-batch-tokens", "200", "--report-json", report)
        single = json.loads(report.read_text())["single"]
        return single["p50_ms"] / 1e3, single["p99_ms"] / 1e3

    def memory(self):
        return self.most

    def processor_seconds(self):
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def close(self):
        pass


def others_seconds(engine):
    """Processor seconds of everything but the engine and this process, since some moment."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, soft, *_ = map(int, fields)
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK") - engine.processor_seconds() - time.process_time()


def percentiles(times):
    times = sorted(times)
    return times[len(times) // 2], times[len(times) * 99 // 100]


class Work:
    """Texts, in the two kinds of file that engines read."""

    def __init__(self, folder, name, texts):
        self.json, self.csv, self.count = folder / f"{name}.json", folder / f"{name}.csv", len(texts)
        self.json.write_text(json.dumps(texts))
        with open(self.csv, "w", newline="", encoding="utf-8") as out:
            csv.writer(out).writerows([["text"], *([text] for text in texts)])


def load_tokenizer(model):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return tokenizer


def made_texts(texts, lengths, tokenizer):
    """Texts of so many tokens, made of those given."""
    dice = random.Random(20240)
    out = []
    for wanted in lengths(dice):
        joined = ""
        while len(tokenizer.encode(joined).ids) < wanted:
            joined = f"{joined} {dice.choice(texts)}".strip()
        # The last of the tokens that fit, less the closing special one.
        end = tokenizer.encode(joined).offsets[wanted - 2][1]
        out.append(joined[:end])
    return out


def workload(name, rows, texts, tokenizer):
    if name == "short":
        return texts[: rows[name]]
    if name == "mixed":
        def lengths(dice):
            # Drawn one at a time, between the texts' own draws.
            for _ in range(rows[name]):
                yield min(256, max(3, round(dice.lognormvariate(3.689, 0.8))))
        return made_texts(texts, lengths, tokenizer)
    if name == "long":
        return made_texts(texts, lambda _: [256] * rows[name], tokenizer)
    ten = [text for text in texts if len(tokenizer.encode(text).ids) == 10]
    return ten[: WARM + QUERIES]


def searched(peer, score):
    """The setting with the least score: each value in turn, at the best of those before it."""
    space = peer.ask(space=True)["space"]
    if not all(space.values()):
        raise RuntimeError(f"no {next(k for k, v in space.items() if not v)} for {peer.name}")
    best, least = {name: values[0] for name, values in space.items()}, None
    for name, values in space.items():
        for value in values if least is None else values[1:]:
            setting = dict(best, **{name: value})
            peer.load(setting)
            took = score(peer)
            print(f"  {peer.name} {setting}: {took:.4f}", file=sys.stderr)
            if least is None or took < least:
                least, kept = took, value
                best_now = dict(setting)
        best = best_now
    return best


def sample_of(texts, lengths, tokens):
    """Some of the texts, evenly taken, of about so many tokens."""
    step = max(1, sum(lengths) // tokens)
    return texts[::step]


class Lock:
    """A file's lock that is kept from one use to the next, and let go after four minutes and at the end."""

    def __init__(self, path):
        self.path, self.file, self.since = path, None, 0.0

    def __enter__(self):
        if self.path and not self.file:
            import fcntl

            self.file = open(self.path, "a")
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.monotonic()

    def __exit__(self, *_):
        if time.monotonic() - self.since > 240:
            self.close()

    def close(self):
        if self.file:
            self.file.close()
            self.file = None
            time.sleep(0.5)


class Comparison:
    """One model and one workload."""

    def __init__(self, args, name, model, converted, folder):
        self.args, self.name, self.model, self.converted, self.folder = args, name, model, converted, folder
        self.lock = Lock(args.lock)

    def names(self):
        sys.path.insert(0, str(HERE))
        from engines import ENGINES

        names = [*ENGINES, *(["rten", "rten-int8", "candle"] if self.args.rust_peers else [])]
        names += ["batchwright-exact", "batchwright-near", "batchwright-fast"]
        return [name for name in names if not self.args.engines or name in self.args.engines]

    def start(self, name):
        if name.startswith("batchwright"):
            return Batchwright(name, self.args, self.model, self.folder)
        program = [sys.executable, HERE / "engines.py"]
        if name.startswith(("rten", "candle")):
            program = [self.args.rust_peers]
        return Peer(name, [*program, name, self.model, self.converted, str(self.args.threads)])

    def best_setting(self, name, score):
        if name.startswith("batchwright"):
            return None
        peer = self.start(name)
        try:
            with self.lock:
                return searched(peer, score)
        finally:
            peer.close()

    def engines(self, score):
        """Fresh processes, each at its best setting, less those that cannot do it."""
        out = []
        for name in self.names():
            try:
                setting = self.best_setting(name, score)
                engine = self.start(name)
                if setting:
                    engine.load(setting)
                out.append(engine)
            except (RuntimeError, BrokenPipeError) as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
        return out

    def in_turn(self, engines, work):
        for turn in range(self.args.rounds):
            at = turn * 3 % len(engines)
            for engine in engines[at:] + engines[:at]:
                with self.lock:
                    work(turn, engine)
                    time.sleep(0.3)  # Threads that spin for more work have gone to sleep.

    def undisturbed(self, engine, work):
        """What `work` gives, and the share of the processors that others had meanwhile."""
        tries = []
        for _ in range(self.args.retries + 1):
            started, before = time.perf_counter(), others_seconds(engine)
            result = work()
            share = (others_seconds(engine) - before) / (time.perf_counter() - started) / os.cpu_count()
            tries.append((max(0.0, share), result))
            if share < 0.03:
                break
            time.sleep(1)
        share, result = min(tries)
        return result, share

    def throughput(self, texts, lengths):
        sample = Work(self.folder, "sample", sample_of(texts, lengths, SAMPLE[self.name]))
        warm = Work(self.folder, "warm", texts[:: max(1, len(texts) // 24)])

        def score(peer):
            peer.seconds(warm)
            return min(peer.seconds(sample) for _ in range(2))

        work, engines = Work(self.folder, "texts", texts), self.engines(score)
        for engine in engines:
            with self.lock:
                engine.seconds(warm)
        took, others = ({engine.name: [] for engine in engines} for _ in range(2))

        def once(turn, engine):
            file = None if turn else self.folder / f"{engine.name}.npy"
            seconds, share = self.undisturbed(engine, lambda: engine.seconds(work, file))
            took[engine.name].append(seconds)
            others[engine.name].append(share)
            print(f"  round {turn + 1}: {engine.name} {len(texts) / seconds:.0f} texts/s, others {share:.0%}", file=sys.stderr)

        self.in_turn(engines, once)
        out = {e.name: dict(setting=e.setting, seconds=took[e.name], others=others[e.name],
                            bytes=e.memory(), **self.cosines(e)) for e in engines}
        for engine in engines:
            engine.close()
        spread = sorted(lengths)
        return dict(engines=out, texts=len(texts), tokens=sum(lengths), rounds=self.args.rounds,
                    spread=f"{spread[0]} to {spread[-1]} tokens, median {spread[len(spread) // 2]}")

    def cosines(self, engine):
        import numpy as np

        reference = self.folder / "sentence-transformers.npy"
        if not reference.exists():  # left out by --engines
            return {}
        reference = np.load(reference)
        vectors = np.load(self.folder / f"{engine.name}.npy")
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-3, f"{engine.name}: not of length 1"
        cosine = (vectors * reference).sum(1)
        if not engine.name.endswith(("-int8", "-fast", "-near")):
            assert cosine.min() > 0.9999, f"{engine.name}: vectors differ from PyTorch's: {cosine.min()}"
        return dict(mean_cosine=float(cosine.mean()), least_cosine=float(cosine.min()))

    def query(self, texts):
        few = Work(self.folder, "few", texts[: WARM + 100])
        engines = self.engines(lambda peer: min(peer.latency(few)[0] for _ in range(2)))
        work = Work(self.folder, "queries", texts)
        found = {engine.name: ([], [], []) for engine in engines}

        def once(turn, engine):
            values, share = self.undisturbed(engine, lambda: engine.latency(work))
            for kept, value in zip(found[engine.name], (*values, share)):
                kept.append(value)
            print(f"  round {turn + 1}: {engine.name} {values[0] * 1e3:.2f} ms, others {share:.0%}", file=sys.stderr)

        self.in_turn(engines, once)
        out = {e.name: dict(setting=e.setting, p50=found[e.name][0], p99=found[e.name][1],
                            others=found[e.name][2], bytes=e.memory()) for e in engines}
        for engine in engines:
            engine.close()
        return dict(engines=out, texts=len(texts) - WARM, warm=WARM, rounds=self.args.rounds)


def about(args):
    from importlib.metadata import version

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    said = subprocess.check_output([args.batchwright, "--version"], text=True).strip()
    return dict(processor=(names or [platform.machine()])[0], cores=os.cpu_count(), system=platform.platform(),
                threads=args.threads, batchwright=said, packages={name: version(name) for name in PACKAGES})


def prepared(args, name, work, calibration):
    """The checkpoint and what was converted of it."""
    model = args.model if name == "minilm" else work / f"{name}-model"
    if not model.exists():
        make = "import sys; from pathlib import Path; import convert; convert.random_model(sys.argv[1], *map(Path, sys.argv[2:]))"
        subprocess.run([sys.executable, "-c", make, name, args.model, model], cwd=HERE, check=True)
    subprocess.run([sys.executable, HERE / "convert.py", model, work / name, calibration], check=True)
    return model, work / name


def keep(path, machine, part):
    results = json.loads(path.read_text()) if path.exists() else dict(parts=[])
    same = lambda other: all(other[key] == part[key] for key in ("model", "workload"))  # noqa: E731
    parts = [other for other in results["parts"] if not same(other)] + [part]
    order = [(model, name) for model in ROWS for name in ("short", "mixed", "long", "query")]
    parts.sort(key=lambda part: order.index((part["model"], part["workload"])))
    path.write_text(json.dumps(dict(about=machine, parts=parts), indent=1) + "\n")


def main():
    args = parse()
    limit_threads(args)
    machine = about(args)
    print(json.dumps(machine), file=sys.stderr)
    with open(args.data, newline="", encoding="utf-8") as file:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))
    tokenizer = load_tokenizer(args.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = args.work or folder
        calibration = folder / "calibration.json"
        calibration.write_text(json.dumps(texts[-300:]))
        for name in args.models:
            model, converted = prepared(args, name, work, calibration)
            comparison = Comparison(args, name, model, converted, folder)
            for kind in args.workloads:
                print(f"{name}, {kind}", file=sys.stderr)
                # Mixed and long texts are made of the first 4,000, queries are found among all.
                rows = workload(kind, ROWS[name], texts if kind == "query" else texts[:4000], tokenizer)
                if kind == "query":
                    part = comparison.query(rows)
                else:
                    lengths = [len(e.ids) for e in tokenizer.encode_batch(rows)]
                    part = comparison.throughput(rows, lengths)
                comparison.lock.close()
                keep(args.json, machine, dict(part, model=name, workload=kind))


if __name__ == "__main__":
    main()
