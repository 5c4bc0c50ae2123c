"""The engines that compare.py measures: each has a name, a label, and `timed(texts, file)`.

`timed` gives the seconds from strings to vectors and the vectors, [texts, dimensions] in order.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
import sentence_transformers
import torch
import transformers
from onnxruntime.transformers import optimizer

BATCH = 32


class OnnxRuntime:
    """One setting of ONNX Runtime."""

    name = "ONNX Runtime"

    def __init__(self, graph, tokenizer, sessions, threads, label):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        provider = ["CPUExecutionProvider"]
        self.sessions = [ort.InferenceSession(graph, options, provider) for _ in range(sessions)]
        self.inputs = {i.name for i in self.sessions[0].get_inputs()}
        self.tokenizer, self.label = tokenizer, label

    def embed(self, texts):
        encoded = [e.ids for e in self.tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
        queue = iter([order[i : i + BATCH] for i in range(0, len(order), BATCH)])
        out = np.empty((len(texts), 384), dtype=np.float32)

        def work(session):
            for batch in queue:
                ids = np.zeros((len(batch), len(encoded[batch[0]])), dtype=np.int64)
                mask = np.zeros_like(ids)
                for row, i in enumerate(batch):
                    ids[row, : len(encoded[i])] = encoded[i]
                    mask[row, : len(encoded[i])] = 1
                feed = dict(input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
                feed = {k: v for k, v in feed.items() if k in self.inputs}
                out[batch] = session.run(None, feed)[0]

        # Sessions let go of Python's lock while they compute.
        with ThreadPoolExecutor(len(self.sessions)) as pool:
            list(pool.map(work, self.sessions))
        return out

    def timed(self, texts, _file):
        started = time.perf_counter()
        vectors = self.embed(texts)
        return time.perf_counter() - started, vectors


def export(args, folder):
    """Writes the plain graph and, where its patterns are recognised, the fused one."""
    class Embedder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = transformers.AutoModel.from_pretrained(args.model, attn_implementation="eager")

        def forward(self, input_ids, attention_mask, token_type_ids):
            # Attention is spelled out in the way in which ONNX Runtime's optimiser recognises it.
            heads = self.encoder.config.num_attention_heads
            width = self.encoder.config.hidden_size // heads

            def split(x):
                return x.view(x.size()[:-1] + (heads, width)).permute(0, 2, 1, 3)

            x = self.encoder.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
            mask = attention_mask.unsqueeze(1).unsqueeze(2).to(torch.float32)
            mask = (1.0 - mask) * torch.finfo(torch.float32).min
            for layer in self.encoder.encoder.layer:
                a = layer.attention.self
                q, k, v = split(a.query(x)), split(a.key(x)), split(a.value(x))
                weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / width**0.5 + mask, -1)
                mixed = torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous()
                x = layer.attention.output(mixed.view(mixed.size()[:-2] + (heads * width,)), x)
                x = layer.output(layer.intermediate(x), x)
            kept = attention_mask.unsqueeze(-1).to(x.dtype)
            mean = (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    names = ["input_ids", "attention_mask", "token_type_ids"]
    sample = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in names)
    sample[1][1, 4:] = 0
    plain = str(folder / "plain.onnx")
    torch.onnx.export(
        Embedder().eval(), sample, plain, input_names=names, output_names=["embedding"],
        dynamic_axes={n: {0: "batch", 1: "tokens"} for n in names}, opset_version=17, dynamo=False,
    )
    graphs = {"plain graph": plain}
    try:
        fused = optimizer.optimize_model(plain, model_type="bert", num_heads=12, hidden_size=384)
        counts = {k: v for k, v in fused.get_fused_operator_statistics().items() if v}
        fused.save_model_to_file(str(folder / "fused.onnx"))
        graphs[f"fused graph {counts}"] = str(folder / "fused.onnx")
    except Exception as error:  # The peer without its extra is still the peer.
        print(f"the fused graph could not be made: {error}", file=sys.stderr)
    return graphs


def best_onnx(args, folder, tokenizer, texts):
    layouts = [(1, args.threads), (args.threads, 1)] if args.threads > 1 else [(1, 1)]
    tried = []
    for label, graph in export(args, folder).items():
        for sessions, threads in layouts:
            name = f"{label}, {sessions} session(s) of {threads} thread(s)"
            engine = OnnxRuntime(graph, tokenizer, sessions, threads, name)
            engine.embed(texts[:128])
            seconds = min(engine.timed(texts[:1024], None)[0] for _ in range(2))
            print(f"ONNX Runtime, {name}: {len(texts[:1024]) / seconds:.0f} texts/s", file=sys.stderr)
            tried.append((seconds, engine))
    return min(tried, key=lambda pair: pair[0])[1]


class SentenceTransformers:
    name = "sentence-transformers"

    def __init__(self, args):
        torch.set_num_threads(args.threads)
        self.model = sentence_transformers.SentenceTransformer(str(args.model), device="cpu")
        self.label = f"{args.threads} threads, batches of {BATCH}"

    def timed(self, texts, _file):
        started = time.perf_counter()
        vectors = self.model.encode(texts, batch_size=BATCH, show_progress_bar=False)
        return time.perf_counter() - started, vectors


class Batchwright:
    name = "batchwright"

    def __init__(self, args, folder):
        self.args, self.folder, self.runs = args, folder, 0
        self.label = subprocess.check_output([args.batchwright, "--version"], text=True).strip()

    def timed(self, texts, file):
        self.runs += 1
        out, summary = self.folder / f"out-{self.runs}.parquet", self.folder / "summary.json"
        command = [self.args.batchwright, "embed", file, "--model", self.args.model, "-o", out,
                   "--threads", str(self.args.threads), "--cache", "off", "--quiet",
                   "--summary-json", summary]
        subprocess.run([*command, *self.args.batchwright_args.split()], check=True)
        table = pq.read_table(out)
        vectors = next(c for c in table.columns if pa.types.is_fixed_size_list(c.type))
        flat = vectors.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        out.unlink()
        # From the first row read to the last answer.
        seconds = json.loads(summary.read_text())["seconds"]
        return seconds, flat.reshape(len(texts), -1).astype(np.float32)
