"""Embeddings over HTTP as one would write them in Python: FastAPI, uvicorn, ONNX Runtime.

    python benches/peers/serving/server.py MODEL GRAPH [--batching queue] [--threads N] [--workers N] [--port N]

MODEL is the checkpoint's directory (its tokenizer.json is read), GRAPH an ONNX file that
`benches/peers/convert.py` made of it: pooling and normalising are in the graph. It is asked as Batchwright
is, `POST /embed` with `{"texts": [...]}`, and answers in the same form; `GET /health` is 200.

* without `--batching`, each request is tokenised, padded and run by itself, on a thread of the server's pool;
* with `--batching queue`, requests wait in a queue. Whatever waits, up to `--batch` texts and at most
  `--wait-ms` after the first, is padded and run together; the next batch is gathered meanwhile.

Everything that is fast in such servers is used: uvloop and httptools, orjson over NumPy's own memory, no
validation of the answers. `--workers` makes processes, each with `--threads` threads.
"""

import argparse
import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from tokenizers import Tokenizer

# Tokens at which a text is cut: MiniLM's own limit.
LONGEST = 256


class Ask(BaseModel):
    texts: list[str]


class Embedder:
    """Strings to vectors."""

    def __init__(self, model, graph, threads):
        self.tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(LONGEST)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.names = [entry.name for entry in self.session.get_inputs()]

    def __call__(self, texts):
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        shape = (len(rows), max(map(len, rows)))
        ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        feeds = dict(input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
        return self.session.run(None, {name: feeds[name] for name in self.names})[0]


class Batcher:
    """Requests of many clients in one batch."""

    def __init__(self, embed, batch, wait):
        self.embed, self.batch, self.wait = embed, batch, wait
        self.queue = asyncio.Queue()
        # One batch at a time: the session has all threads.
        self.pool = ThreadPoolExecutor(1)

    async def __call__(self, texts):
        answer = asyncio.get_running_loop().create_future()
        await self.queue.put((texts, answer))
        return await answer

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            gathered = await self.gather(loop)
            texts = [text for some, _ in gathered for text in some]
            try:
                vectors = await loop.run_in_executor(self.pool, self.embed, texts)
            except Exception as error:  # Its requests have failed, and the next batch has its chance.
                for _, answer in gathered:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            at = 0
            for some, answer in gathered:
                if not answer.done():
                    answer.set_result(vectors[at : at + len(some)])
                at += len(some)

    async def gather(self, loop):
        gathered = [await self.queue.get()]
        count = len(gathered[0][0])
        until = loop.time() + self.wait
        while count < self.batch:
            try:
                entry = self.queue.get_nowait()
            except asyncio.QueueEmpty:
                left = until - loop.time()
                if left <= 0:
                    break
                try:
                    entry = await asyncio.wait_for(self.queue.get(), left)
                except asyncio.TimeoutError:
                    break
            gathered.append(entry)
            count += len(entry[0])
        return gathered


def settings():
    """From the environment, for each worker is a process that imports this file anew."""
    return orjson.loads(os.environ["SERVING"])


@asynccontextmanager
async def lifespan(app):
    said = settings()
    embed = Embedder(said["model"], said["graph"], said["threads"])
    embed(["warm up"])
    if said["batching"] == "queue":
        app.state.embed = Batcher(embed, said["batch"], said["wait_ms"] / 1e3)
        running = asyncio.create_task(app.state.embed.run())
        yield
        running.cancel()
    else:
        app.state.embed = lambda texts: run_in_threadpool(embed, texts)
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/embed")
async def embed(ask: Ask):
    vectors = await app.state.embed(ask.texts) if ask.texts else []
    results = [{"embedding": vector} for vector in vectors]
    # NumPy's rows of a batch are whole and in C order, as orjson wants them.
    return Response(orjson.dumps({"results": results}, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@app.get("/health")
async def health():
    return {}


def main():
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("graph")
    parser.add_argument("--batching", choices=["none", "queue"], default="none")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of ONNX Runtime, in each process")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--batch", type=int, default=32, help="texts of a batch")
    parser.add_argument("--wait-ms", type=float, default=2.0, help="for others to join a batch")
    parser.add_argument("--port", type=int, default=8010)
    said = parser.parse_args()
    os.environ["SERVING"] = orjson.dumps(vars(said)).decode()
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    uvicorn.run("server:app", port=said.port, workers=said.workers, access_log=False, log_level="warning",
                app_dir=os.path.dirname(os.path.abspath(__file__)))


if __name__ == "__main__":
    main()
