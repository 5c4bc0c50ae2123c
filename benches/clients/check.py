"""Real clients against a running server: their answers must be those of the command line, bit for bit.

    python benches/clients/check.py --url http://localhost:8003 --model all-MiniLM-L6-v2 [--name NAME]
        [--batchwright target/release/batchwright] [--api-key KEY] [--schema-examples N]

The server serves MODEL, a model that embeds, under NAME. The same MODEL embeds the same texts offline, and
every value that `tritonclient`, `openai` and `huggingface_hub` bring back is compared with it as 32 bits.
With `--schema-examples`, `schemathesis` then asks every route of the OpenAPI document so many things that it
makes up, good and bad: no answer may be a 5xx, and each must be one that the document has. The server must
then have been started for this: it is asked to load its models and to change their settings too.

Exit code 1 if anything differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
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


def offline(args):
    """The vectors of the command line."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "in.jsonl", Path(name) / "out.jsonl"
        given.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        command = [args.batchwright, "embed", given, "-m", args.model, "-o", made, "--quiet"]
        subprocess.run(command, check=True)
        rows = [json.loads(line) for line in made.read_text().splitlines()]
    return np.array([row["embedding"] for row in rows], dtype=np.float32)


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


def schema(args):
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", f"{args.url}/openapi.json", "--url", args.url, "--continue-on-failure",
               "--max-examples", str(args.schema_examples), "--generation-deterministic",
               # It knows no JSON Lines; `fuzz/` asks that route. What is unloaded answers 503 from then on.
               "--exclude-path", "/predict/stream", "--exclude-path-regex", "unload$",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"]
    for name, value in headers(args).items():
        command += ["--header", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, check=True, cwd=folder)


def headers(args):
    return {"Authorization": f"Bearer {args.api_key}"} if args.api_key else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8003")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="as for `batchwright embed -m`")
    parser.add_argument("--name", help="the server's name for it; by default the last part of MODEL")
    parser.add_argument("--batchwright", default="target/release/batchwright")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--schema-examples", type=int, default=0, help="of each route, for schemathesis; 0 for none")
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    args.name = args.name or Path(args.model).name
    wanted = offline(args)
    # Rows that are all alike would make any comparison pass.
    assert len({row.tobytes() for row in wanted}) == len(set(TEXTS)), "the model does not tell texts apart"
    failed = []
    for check in [own, triton, openai, hugging_face]:
        print(check.__name__.replace("_", " "))
        try:
            check(args, wanted)
        except Exception as error:  # One client's failure must not hide the next one's.
            print(f"  FAILED: {type(error).__name__}: {error}")
            failed.append(check.__name__)
    if args.schema_examples:
        print("schemathesis", flush=True)
        try:
            schema(args)
        except subprocess.CalledProcessError as error:
            print(f"  FAILED: exit code {error.returncode}")
            failed.append("schemathesis")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    print("all clients were answered as the command line answers")


if __name__ == "__main__":
    main()
