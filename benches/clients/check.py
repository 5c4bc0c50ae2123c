"""Real clients against a server: their answers must be those of the command line, bit for bit.

    python benches/clients/check.py [--batchwright target/debug/batchwright]
    python benches/clients/check.py --url http://localhost:8003 --model all-MiniLM-L6-v2 [--name NAME]
        [--classifier NAME=MODEL] [--api-key KEY] [--schema-examples N [--schema-strict]]

Without `--url` it starts a server of its own, with the tiny models of the tests. With it, that server serves
MODEL, a model that embeds, under NAME. The same MODEL embeds the same texts offline, and every value that
`tritonclient` (HTTP and gRPC), `openai` and `huggingface_hub` bring back is compared with it as 32 bits.
With `--schema-examples`, `schemathesis` then asks every route of the OpenAPI document so many things that it
makes up, good and bad: no answer may be a 5xx, each must be one that the document has, and what the document
forbids must be refused. With `--schema-strict` what it allows must be accepted as well: what is reported then should be
of the models alone (their tasks, widths and prompts), of which no document knows. The server must have been started for
this: it is asked to load its models and to change their settings too.

Exit code 1 if anything differs.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

TEXTS = [
    "turn on the lights",
    "what is my balance",
    "a",
    "Grüße aus Köln, 東京 und Αθήνα 🙂",
    'quotes " and back\\slashes, tabs\tand more',
    "the quick brown fox jumps over the lazy dog " * 12,
    "turn on the lights",
]


# The tiny models of the tests.
GOLDEN = Path(__file__).parents[2] / "crates/testing/golden"


def offline(args, task, model, *options):
    """The rows of the command line."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "in.jsonl", Path(name) / "out.jsonl"
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        command = [args.batchwright, task, given, "-m", model, "-o", made, "--quiet", *options]
        subprocess.run(command, check=True)
        return [json.loads(line) for line in made.read_text().splitlines()]


@contextlib.contextmanager
def own_server(args):
    """A server of the tiny models on a free port. It must end well once it is told to."""
    args.model, args.name, args.api_key = GOLDEN / "bert-embed", "search", "a key"
    args.classifier = f"mood={GOLDEN / 'bert-classify'}"
    command = [args.batchwright, "serve", "--port", "0", "--threads", "2", "-m", f"search={args.model}",
               "-m", args.classifier, "-m", f"rank={GOLDEN / 'bert-rerank'}"]
    environment = {**os.environ, "BATCHWRIGHT_API_KEYS": args.api_key}
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            for line in server.stderr:
                log.write(line)
                if line.startswith("listening on "):
                    args.url = line.split()[2]
                if line.rstrip().endswith("ready"):
                    break
            else:
                log.seek(0)
                sys.exit(f"the server did not start:\n{log.read()}")
            yield
            server.send_signal(signal.SIGTERM)
            _, rest = server.communicate(timeout=60)
            assert server.returncode == 0, f"the server ended with {server.returncode}:\n{rest}"
        finally:
            server.kill()


def same(name, found, wanted):
    # Digits that tell 32 bits apart do so through 64 bits as well.
    values = np.asarray(found).astype(np.float32)
    assert values.shape == wanted.shape, f"{name}: {values.shape}, not {wanted.shape}"
    unlike = (values.view(np.uint32) != wanted.view(np.uint32)).sum()
    assert unlike == 0, f"{name}: {unlike} of {wanted.size} values differ from the command line's"
    print(f"  {name}: {wanted.size} values, the same bits")


def own(args, wanted):
    import requests

    answer = requests.post(f"{args.url}/embed", json={"texts": TEXTS}, headers=headers(args), timeout=60)
    answer.raise_for_status()
    same("requests, batch", [row["embedding"] for row in answer.json()["results"]], wanted)
    for text, vector in zip(TEXTS, wanted):
        # Alone, and computed anew whatever the cache knows.
        body = {"text": text, "cache": False}
        answer = requests.post(f"{args.url}/embed", json=body, headers=headers(args), timeout=60)
        alone = np.float32(answer.json()["results"][0]["embedding"])
        assert (alone.view(np.uint32) == vector.view(np.uint32)).all(), f"alone: {text!r}"
    print("  requests, each alone and uncached: the same bits")


def triton(args, wanted):
    import tritonclient.http as triton

    address = urlparse(args.url).netloc
    client = triton.InferenceServerClient(address)
    # Anew for each call: the client writes into what it is given.
    said = lambda: headers(args)  # noqa: E731
    assert client.is_server_live(headers=said()) and client.is_server_ready(headers=said())
    assert client.is_model_ready(args.name, headers=said())
    metadata = client.get_model_metadata(args.name, headers=said())
    assert [entry["name"] for entry in metadata["inputs"]] == ["text"], metadata
    assert args.name in [entry["name"] for entry in client.get_model_repository_index(headers=said())]
    assert client.get_model_config(args.name, headers=said())["name"] == args.name
    assert client.get_inference_statistics(args.name, headers=said())["model_stats"]
    texts = np.array([text.encode() for text in TEXTS], dtype=np.object_)
    for binary_in in [True, False]:
        for binary_out in [True, False]:
            given = triton.InferInput("text", [len(TEXTS)], "BYTES")
            given.set_data_from_numpy(texts, binary_data=binary_in)
            output = triton.InferRequestedOutput("embedding", binary_data=binary_out)
            answer = client.infer(args.name, [given], outputs=[output], request_id="7", headers=said())
            assert answer.get_response()["id"] == "7"
            form = lambda binary: "bytes" if binary else "JSON"  # noqa: E731
            name = f"tritonclient, {form(binary_in)} in, {form(binary_out)} out"
            same(name, answer.as_numpy("embedding"), wanted)
    try:
        client.infer("no such model", [given], headers=said())
        raise AssertionError("tritonclient: no error for a model that is not there")
    except triton.InferenceServerException as error:
        assert error.status() == "404", error


def triton_grpc(args, wanted):
    import grpc
    import tritonclient.grpc as triton
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    address = urlparse(args.url).netloc
    said = {"authorization": f"Bearer {args.api_key}"} if args.api_key else {}
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", "inference.GRPCInferenceService", args.name]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    client = triton.InferenceServerClient(address)
    assert client.is_server_live(headers=said) and client.is_server_ready(headers=said)
    assert client.is_model_ready(args.name, headers=said)
    assert client.get_server_metadata(headers=said).name == "batchwright"
    metadata = client.get_model_metadata(args.name, headers=said)
    assert [(entry.name, entry.datatype) for entry in metadata.inputs] == [("text", "BYTES")], metadata
    assert list(metadata.outputs[0].shape) == [-1, wanted.shape[1]], metadata
    config = client.get_model_config(args.name, headers=said).config
    assert (config.name, config.output[0].dims[0]) == (args.name, wanted.shape[1]), config
    index = client.get_model_repository_index(headers=said).models
    assert args.name in [model.name for model in index if model.state == "READY"], index
    texts = np.array([text.encode() for text in TEXTS], dtype=np.object_)
    given = triton.InferInput("text", [len(TEXTS)], "BYTES").set_data_from_numpy(texts)
    output = triton.InferRequestedOutput("embedding")
    for compression in [None, "gzip"]:
        answer = client.infer(args.name, [given], outputs=[output], request_id="7", headers=said,
                              compression_algorithm=compression, priority=1, timeout=60_000_000, client_timeout=60)
        assert answer.get_response().id == "7"
        same(f"tritonclient.grpc, {compression or 'plain'}", answer.as_numpy("embedding"), wanted)

    found = queue.Queue()
    client.start_stream(callback=lambda result, error: found.put((result, error)), headers=said)
    for row in range(len(TEXTS)):
        one = triton.InferInput("text", [1], "BYTES").set_data_from_numpy(texts[row : row + 1])
        client.async_stream_infer(args.name, [one], request_id=str(row))
    rows = []
    for row in range(len(TEXTS)):
        result, error = found.get(timeout=60)
        assert error is None and result.get_response().id == str(row), (row, error)
        rows.append(result.as_numpy("embedding"))
    client.stop_stream()
    same("tritonclient.grpc, stream", np.concatenate(rows), wanted)
    statistics = client.get_inference_statistics(args.name, headers=said).model_stats[0]
    assert statistics.inference_stats.success.count > len(TEXTS), statistics
    for name, options, code in [
        ("no such model", {}, "StatusCode.NOT_FOUND"),
        (args.name, {"outputs": [triton.InferRequestedOutput("no such output")]}, "StatusCode.INVALID_ARGUMENT"),
    ] + ([(args.name, {"headers": {}}, "StatusCode.UNAUTHENTICATED")] if args.api_key else []):
        try:
            client.infer(name, [given], **{"headers": said, **options})
            raise AssertionError(f"tritonclient.grpc: no error for {name}, {options}")
        except triton.InferenceServerException as error:
            assert error.status() == code, error
    client.close()
    print("  grpc_health, metadata, configuration, statistics, index, errors")


def openai(args, wanted):
    import openai

    client = openai.OpenAI(base_url=f"{args.url}/v1", api_key=args.api_key or "none", max_retries=0)
    assert args.name in [model.id for model in client.models.list()]
    # What the client asks for by default is base64, which it decodes to the 32 bits themselves.
    answer = client.embeddings.create(model=args.name, input=TEXTS)
    same("openai, its default", [entry.embedding for entry in answer.data], wanted)
    assert [entry.index for entry in answer.data] == list(range(len(TEXTS)))
    assert answer.usage.prompt_tokens > len(TEXTS)
    answer = client.embeddings.create(model=args.name, input=TEXTS, encoding_format="float")
    same("openai, float", np.float32([entry.embedding for entry in answer.data]), wanted)
    answer = client.embeddings.create(model=args.name, input=TEXTS[0])
    same("openai, one text", [answer.data[0].embedding], wanted[:1])
    answer = client.embeddings.create(model=args.name, input=TEXTS[0], dimensions=8)
    assert len(answer.data[0].embedding) == 8
    for bad, raised in [
        (dict(model="no such model", input="a"), openai.NotFoundError),
        (dict(model=args.name, input=[]), openai.BadRequestError),
    ]:
        try:
            client.embeddings.create(**bad)
            raise AssertionError(f"openai: no error for {bad}")
        except raised as error:
            assert error.body["message"], error


def hugging_face(args, wanted):
    from huggingface_hub import InferenceClient

    # The client posts to the address itself, as to a Text Embeddings Inference server's root.
    for place in [args.url, f"{args.url}/embed"]:
        client = InferenceClient(model=place, token=args.api_key or None, timeout=60)
        found = [client.feature_extraction(text) for text in TEXTS]
        same(f"huggingface_hub, {urlparse(place).path or '/'}", np.concatenate(found), wanted)
    # Of vectors that have length 1 or not.
    lengths = np.linalg.norm(wanted, axis=1)
    cosines = (wanted[1:] @ wanted[0]) / (lengths[1:] * lengths[0])
    client = InferenceClient(model=f"{args.url}/similarity", token=args.api_key or None, timeout=60)
    found = client.sentence_similarity(TEXTS[0], TEXTS[1:])
    assert np.allclose(found, cosines, atol=1e-5), (found, cosines)
    print(f"  huggingface_hub, /similarity: {len(found)} cosines")
    if args.classifier:
        name, model = args.classifier.split("=", 1)
        client = InferenceClient(model=f"{args.url}/predict", token=args.api_key or None, timeout=60)
        for text, row in zip(TEXTS, offline(args, "classify", model, "--top-k", "1")):
            best = client.text_classification(text)
            # The client gives the first of what it is given, in a list or not.
            best = best[0] if isinstance(best, list) else best
            score = np.float32(row["scores"][0] if "scores" in row else row["score"])
            label = row["labels"][0] if "labels" in row else row["label"]
            assert (best.label, np.float32(best.score)) == (label, score), (text, best, row)
        print(f"  huggingface_hub, /predict of {name}: {len(TEXTS)} labels and scores, the same bits")


def schema(args):
    program = Path(sys.executable).with_name("schemathesis")
    checks = ["not_a_server_error", "status_code_conformance", "content_type_conformance",
              "response_schema_conformance", "negative_data_rejection"]
    if args.schema_strict:
        checks.append("positive_data_acceptance")
    command = [program, "run", f"{args.url}/openapi.json", "--url", args.url, "--continue-on-failure",
               "--max-examples", str(args.schema_examples), "--generation-deterministic",
               # It knows no JSON Lines; `fuzz/` asks that route. What is unloaded answers 503 from then on, and what is
               # measured takes its seconds each time, beside all else.
               "--exclude-path", "/predict/stream", "--exclude-path-regex", "(unload|/benchmark)$",
               "--checks", ",".join(checks)]
    for name, value in headers(args).items():
        command += ["--header", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, check=True, cwd=folder)


def headers(args):
    return {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="of a server that is there already; without it, one is started")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="with --url: as for `batchwright embed -m`")
    parser.add_argument("--name", help="with --url: the server's name for it; by default the last part of MODEL")
    parser.add_argument("--classifier", metavar="NAME=MODEL", help="with --url: the first model that classifies")
    parser.add_argument("--batchwright", default="target/debug/batchwright")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--schema-examples", type=int, default=0, help="of each route, for schemathesis; 0 for none")
    parser.add_argument("--schema-strict", action="store_true", help="report what fits the document and is refused, too")
    args = parser.parse_args()
    packages = ["tritonclient", "grpcio", "openai", "huggingface_hub"]
    print(", ".join(f"{name} {version(name)}" for name in packages), f"on Python {sys.version.split()[0]}", flush=True)
    if args.url:
        args.url = args.url.rstrip("/")
        args.name = args.name or Path(args.model).name
        failed = check(args)
    else:
        with own_server(args):
            failed = check(args)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    print("all clients were answered as the command line answers")


def check(args):
    """Runs every client; gives the names of those that failed."""
    rows = offline(args, "embed", args.model)
    wanted = np.array([row["embedding"] for row in rows], dtype=np.float32)
    # Rows that are all alike would make any comparison pass.
    assert len({row.tobytes() for row in wanted}) > len(set(TEXTS)) // 2, "the model does not tell texts apart"
    failed = []
    for client in [own, triton, triton_grpc, openai, hugging_face]:
        print(client.__name__.replace("_", " "), flush=True)
        try:
            client(args, wanted)
        except Exception as error:  # One client's failure must not hide the next one's.
            print(f"  FAILED: {type(error).__name__}: {error}")
            failed.append(client.__name__)
    if args.schema_examples:
        print("schemathesis", flush=True)
        try:
            schema(args)
        except subprocess.CalledProcessError as error:
            print(f"  FAILED: exit code {error.returncode}")
            failed.append("schemathesis")
    return failed


if __name__ == "__main__":
    main()
