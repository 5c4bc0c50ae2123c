"""The peers, each in a process of its own: so its peak memory is known, and no library's threads meet another's.

    python benches/peers/engines.py ENGINE MODEL CONVERTED THREADS

MODEL is the checkpoint, CONVERTED what convert.py made of it. Requests are lines of JSON on standard
input, answers lines of JSON on standard output:

    {"load": SETTING}                    builds the engine; SETTING has a value for each name of its space
    {"embed": FILE, "vectors": FILE}     seconds from strings to vectors; the vectors as .npy, if wanted
    {"single": FILE, "warm": N}          seconds of each text embedded alone, after the first N
    {"memory": true}                     most bytes that were resident so far
"""

import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

# Tokens at which a text is cut: MiniLM's own limit.
LONGEST = 256


def layouts(threads):
    """Workers and the threads of each."""
    return [[1, threads], [threads, 1]] if threads > 1 else [[1, 1]]


class Padded:
    """An engine that takes padded batches: texts sorted by length, workers that share a queue."""

    batches = [32, 8]

    def __init__(self, model, converted, threads):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)
        self.model, self.converted, self.threads = model, converted, threads
        self.hidden = json.loads((model / "config.json").read_text()).get("hidden_size")
        self.hidden = self.hidden or json.loads((model / "config.json").read_text())["dim"]

    def space(self):
        """What can be set, each with the values to try; the first is where the search starts."""
        return dict(graph=self.graphs(), layout=layouts(self.threads), batch=self.batches)

    def graphs(self):
        return [name for name in self.names if (self.converted / name).exists()]

    def load(self, setting):
        self.setting = setting
        self.workers = None  # Frees the last ones first.
        self.workers = self.build(self.converted / setting["graph"], *setting["layout"])

    def embed(self, texts):
        encoded = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
        size = self.setting["batch"]
        queue = iter([order[i : i + size] for i in range(0, len(order), size)])
        out = np.empty((len(texts), self.hidden), dtype=np.float32)

        def work(worker):
            for batch in queue:
                out[batch] = self.run(worker, [encoded[i] for i in batch])

        if len(self.workers) == 1:
            work(self.workers[0])
            return out
        # The libraries let go of Python's lock while they compute.
        with ThreadPoolExecutor(len(self.workers)) as pool:
            list(pool.map(work, self.workers))
        return out

    def single(self, text):
        return self.run(self.workers[0], [self.tokenizer.encode(text).ids])[0]


def feed(encoded, names, kind=np.int64):
    """Ids and mask, padded to the longest."""
    ids = np.zeros((len(encoded), max(map(len, encoded))), dtype=kind)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    values = dict(input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
    return {name: values[name] for name in names}


class OnnxRuntime(Padded):
    names = ["plain.onnx", "fused.onnx"]

    def build(self, graph, sessions, threads):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        made = [ort.InferenceSession(str(graph), options, ["CPUExecutionProvider"]) for _ in range(sessions)]
        self.inputs = [i.name for i in made[0].get_inputs()]
        return made

    def run(self, session, encoded):
        return session.run(None, feed(encoded, self.inputs))[0]


class OnnxRuntimeInt8(OnnxRuntime):
    names = ["plain-s8-channels.onnx", "fused-s8-channels.onnx"]


class OpenVino(Padded):
    names = ["f32.xml"]

    def build(self, graph, streams, threads):
        import openvino as ov

        hints = {
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(streams * threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = ov.Core().compile_model(str(graph), "CPU", hints)
        self.inputs = [i.any_name for i in compiled.inputs]
        return [compiled.create_infer_request() for _ in range(streams)]

    def run(self, request, encoded):
        return request.infer(feed(encoded, self.inputs))[0]


class OpenVinoInt8(OpenVino):
    names = ["static.xml", "weights.xml"]


class CTranslate2(Padded):
    names = ["ctranslate2"]
    kind = "float32"

    def build(self, graph, workers, threads):
        import ctranslate2

        made = ctranslate2.Encoder(
            str(graph), "cpu", compute_type=self.kind, inter_threads=workers, intra_threads=threads
        )
        return [made] * workers

    def run(self, encoder, encoded):
        # It masks what it pads, and leaves the padding's places undefined.
        states = np.array(encoder.forward_batch(encoded).last_hidden_state)
        kept = np.zeros(states.shape[:2], dtype=np.float32)
        for row, tokens in enumerate(encoded):
            kept[row, : len(tokens)] = 1.0 / len(tokens)
        mean = np.einsum("rt,rth->rh", kept, states)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


class CTranslate2Int8(CTranslate2):
    kind = "int8"


class SentenceTransformers:
    def __init__(self, model, _converted, threads):
        self.model, self.threads = model, threads

    def space(self):
        return dict(batch=[32, 8])

    def load(self, setting):
        import sentence_transformers
        import torch

        torch.set_num_threads(self.threads)
        self.setting = setting
        self.encoder = sentence_transformers.SentenceTransformer(str(self.model), device="cpu")

    def embed(self, texts):
        return self.encoder.encode(texts, batch_size=self.setting["batch"], show_progress_bar=False)

    def single(self, text):
        return self.encoder.encode(text, show_progress_bar=False)


ENGINES = {
    "sentence-transformers": SentenceTransformers,
    "onnxruntime": OnnxRuntime,
    "onnxruntime-int8": OnnxRuntimeInt8,
    "openvino": OpenVino,
    "openvino-int8": OpenVinoInt8,
    "ctranslate2": CTranslate2,
    "ctranslate2-int8": CTranslate2Int8,
}


def serve(engine, request):
    if "space" in request:
        return dict(space=engine.space())
    if "load" in request:
        engine.load(request["load"])
        return {}
    if "embed" in request:
        texts = json.loads(Path(request["embed"]).read_text())
        started = time.perf_counter()
        vectors = engine.embed(texts)
        seconds = time.perf_counter() - started
        if request.get("vectors"):
            np.save(request["vectors"], np.asarray(vectors, dtype=np.float32))
        return dict(seconds=seconds)
    if "single" in request:
        times = []
        for text in json.loads(Path(request["single"]).read_text()):
            started = time.perf_counter()
            engine.single(text)
            times.append(time.perf_counter() - started)
        return dict(times=times[request["warm"] :])
    return dict(bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main():
    name, model, converted, threads = sys.argv[1:]
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = ENGINES[name](Path(model), Path(converted), int(threads))
    for line in sys.stdin:
        print(json.dumps(serve(engine, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
