"""Makes the golden files: tiny random models and what PyTorch and transformers answer with them.

    python make_golden.py OUT [--minilm DIRECTORY]

needs torch, transformers, tokenizers, safetensors and sentence-transformers from PyPI. Each model
becomes a directory OUT/<family>-<task> in Hugging Face layout, with two files more:

- golden.json: the limit in tokens and the cases: text, other text of a pair, prompt, truncation
  side; what came of them: token ids, type ids, character offsets, scores, entities;
- golden.safetensors: `<case>/hidden/<layer>` [tokens, hidden] (0 is the embeddings' output) for some
  cases, `<case>/answer` for all: the embedding [dims], logits [labels] or logits [tokens, labels].

With --minilm, OUT/minilm-64.{json,safetensors} hold 64 queries and sentence-transformers' vectors.
The same seed gives the same models; the last bits of the answers depend on the processor.
"""

import os

os.environ.update(TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")

import argparse
import json
import shutil
import warnings
from pathlib import Path

import safetensors.torch
import sentence_transformers
import torch
import transformers

from texts import LONG, NAMED, PAIRS, QUERIES, TEXTS
from tiny import make_model

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]
# Texts whose hidden states are kept, for embedding models; their bulk is most of a golden file.
HIDDEN = {"short", "empty", "special tokens", "long"}
# What models with a head are asked; the embedding models are asked everything.
FEW = {"short", "empty", "accents", "long"}

# `limit` is how many tokens have a position; `max_tokens` is the model's own, lower limit.
# `size` is hidden width, heads, layers.
RECIPES = {
    "bert-embed": dict(
        size=(32, 2, 2), limit=36, max_tokens=30, pooling="mean", normalize=True,
        prompts={"query": "find this: ", "document": ""},
    ),
    "roberta-embed": dict(size=(32, 4, 2), limit=34, pooling="cls", dtype="float16"),
    "xlm-roberta-embed": dict(size=(36, 3, 2), limit=34, pooling="max", normalize=True,
        dtype="bfloat16"),
    "distilbert-embed": dict(size=(34, 2, 2), limit=34, pooling="mean_sqrt_len_tokens", dtype="float16"),
    "mpnet-embed": dict(
        size=(32, 2, 2), limit=34, pooling="lasttoken", normalize=True, shard="40KB",
        prompts={"query": "search for ", "document": "text: "}, default_prompt="query",
    ),
    "bert-classify": dict(size=(32, 2, 1), limit=36, labels=["lights", "money", "weather"], dtype="float16"),
    "roberta-classify": dict(
        size=(32, 2, 1), limit=40, labels=["urgent", "angry", "polite", "formal"],
        dtype="float16", activation="gelu_new",
        config=dict(problem_type="multi_label_classification"),
    ),
    "distilbert-classify": dict(
        size=(32, 4, 1), limit=36, labels=["stars"], dtype="float16", config=dict(problem_type="regression"),
    ),
    "mpnet-classify": dict(size=(32, 2, 1), limit=36, labels=["no", "yes"], activation="relu",
        dtype="bfloat16"),
    "bert-rerank": dict(
        size=(32, 2, 1), limit=48, labels=["LABEL_0"], dtype="bfloat16",
        config=dict(
            sentence_transformers={
                "activation_fn": "torch.nn.modules.linear.Identity", "version": "5.0.0",
            }
        ),
    ),
    "xlm-roberta-rerank": dict(size=(32, 2, 2), limit=48, labels=["LABEL_0"], dtype="bfloat16"),
    "bert-tag": dict(size=(32, 2, 1), limit=40, labels=TAGS, dtype="float16"),
    "roberta-tag": dict(size=(32, 2, 1), limit=48, labels=TAGS, dtype="float16"),
    "xlm-roberta-tag": dict(size=(32, 2, 1), limit=40, labels=TAGS, dtype="bfloat16"),
    "distilbert-tag": dict(size=(32, 2, 1), limit=40, labels=TAGS[:5], dtype="bfloat16"),
    "mpnet-tag": dict(size=(32, 2, 1), limit=40, labels=["O", "PER", "LOC"], dtype="float16"),
}


def cases_of(recipe, tokenizer):
    """What the model is asked. `prompt` is the words, `limit` the tokens of this very case."""
    limit = recipe.get("max_tokens", recipe["limit"])
    pairs = PAIRS if recipe["task"] in ("classify", "rerank") else []
    if recipe["task"] == "classify":
        # The pipeline takes an empty second text for none; lists of pairs, as rerankers use, do not.
        pairs = [p for p in PAIRS if p[2]]
    named = NAMED if recipe["task"] == "tag" else []
    special = f"hold {tokenizer.mask_token} the {tokenizer.pad_token} line{tokenizer.sep_token}"
    texts = TEXTS + [("special tokens", special)]
    if recipe["task"] != "embed":
        texts = [t for t in texts if t[0] in FEW and recipe["task"] != "rerank"]
    if recipe["task"] == "tag":
        texts = texts[:2]
    cases = [dict(name=n, text=t) for n, t in texts + named]
    cases += [dict(name=n, text=t, pair=p) for n, t, p in pairs]
    if recipe["task"] != "rerank":
        cases += [
            dict(name="long, left", text=LONG, truncate="left"),
            dict(name="long, 9 tokens", text=LONG, max_tokens=9),
            dict(name="long, 9 tokens left", text=LONG, max_tokens=9, truncate="left"),
        ]
    for name, text, pair in pairs[-2:]:
        cases.append(dict(name=f"{name}, left", text=text, pair=pair, truncate="left"))
        cases.append(dict(name=f"{name}, 12 tokens", text=text, pair=pair, max_tokens=12))
        cases.append(dict(name=f"{name}, 13 tokens", text=text, pair=pair, max_tokens=13))
    prompts = recipe.get("prompts", {})
    if recipe.get("default_prompt"):
        for case in cases:
            case.update(prompt_name=recipe["default_prompt"])
    for key in prompts:
        cases.append(dict(name=f"prompt {key}", text=TEXTS[4][1], prompt_name=key))
    if recipe["task"] == "embed":
        extra = dict(dimensions=recipe["size"][0] // 2 + 1)
        if recipe.get("default_prompt"):
            extra["prompt_name"] = recipe["default_prompt"]
        cases.append(dict(name="fewer dimensions", text=TEXTS[4][1], **extra))
    for case in cases:
        case.setdefault("max_tokens", limit)
        case.setdefault("truncate", "right")
        case.setdefault("pair", None)
        case["prompt"] = prompts.get(case.get("prompt_name"), "")
    return cases


def encode(tokenizer, case):
    tokenizer.truncation_side = case["truncate"]
    pair = None if case["pair"] is None else [case["pair"]]
    return tokenizer(
        [case["prompt"] + case["text"]], pair, truncation="longest_first",
        max_length=case["max_tokens"], return_tensors="pt", return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )


def run(model, encoded):
    inputs = {k: v for k, v in encoded.items() if k in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        return model(**inputs, output_hidden_states=True)


def write_sentence_layout(directory, recipe):
    """The files around an embedding model, as sentence-transformers wrote them before version 6."""
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    if recipe.get("normalize"):
        modules.append(("2", "2_Normalize", "Normalize"))
    listed = [
        dict(idx=i, name=n, path=p, type=f"sentence_transformers.models.{t}")
        for i, (n, p, t) in enumerate(modules)
    ]
    flags = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens",
             "mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "lasttoken": "lasttoken"}
    pooling = {"word_embedding_dimension": recipe["size"][0]}
    pooling |= {f"pooling_mode_{v}": k == recipe["pooling"] for k, v in flags.items()}
    written = {
        "modules.json": listed,
        "1_Pooling/config.json": pooling,
        "config_sentence_transformers.json": {"prompts": recipe.get("prompts", {}),
                                              "default_prompt_name": None},
        "sentence_bert_config.json": {"max_seq_length": recipe.get("max_tokens", recipe["limit"]),
                                      "do_lower_case": False},
    }
    (directory / "1_Pooling").mkdir()
    for name, content in written.items():
        (directory / name).write_text(json.dumps(content, indent=1) + "\n")


def load_sentence_model(directory):
    # Weights may be kept in 16 bits; the answers are those of f32 arithmetic.
    return sentence_transformers.SentenceTransformer(
        str(directory), device="cpu", model_kwargs=dict(dtype=torch.float32)
    )


def sentence_model(directory, recipe):
    """sentence-transformers' own view; with shards, its own newer files on disk too."""
    if not recipe.get("shard"):
        write_sentence_layout(directory, recipe)
        return load_sentence_model(directory)
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [Transformer(str(directory)), Pooling(recipe["size"][0], recipe["pooling"])]
    modules += [Normalize()] if recipe.get("normalize") else []
    st = sentence_transformers.SentenceTransformer(
        modules=modules, device="cpu", prompts=recipe["prompts"],
        default_prompt_name=recipe["default_prompt"],
    )
    saved = directory / "saved"
    st.save(str(saved), create_model_card=False)
    for name in ("modules.json", "config_sentence_transformers.json",
                 "sentence_bert_config.json", "1_Pooling"):
        shutil.move(saved / name, directory / name)
    shutil.rmtree(saved)
    return load_sentence_model(directory)


def embed(st, case):
    st.max_seq_length = case["max_tokens"]
    st.tokenizer.truncation_side = case["truncate"]
    st.truncate_dim = case.get("dimensions")
    return torch.tensor(st.encode([case["text"]], prompt=case["prompt"] or None, show_progress_bar=False)[0])


def entities(model, tokenizer, case):
    """transformers' own aggregation over the text, cut as the case says."""
    tokenizer.truncation_side = case["truncate"]
    tokenizer.model_max_length = case["max_tokens"]
    pipe = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
    found = {}
    for strategy in ("none", "simple", "first", "max"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = pipe(case["text"], aggregation_strategy=strategy) if case["text"].strip() else []
        found[strategy] = [
            [e.get("entity_group", e.get("entity")), round(float(e["score"]), 6), int(e["start"]), int(e["end"])]
            for e in got
        ]
    return found


def scores(directory, model, tokenizer, recipe, case):
    """What the libraries make of the logits: CrossEncoder for pairs, else the pipeline."""
    tokenizer.truncation_side = case["truncate"]
    tokenizer.model_max_length = case["max_tokens"]
    if recipe["task"] == "rerank":
        ce = sentence_transformers.CrossEncoder(str(directory), device="cpu", max_length=case["max_tokens"],
                                                model_kwargs=dict(dtype=torch.float32))
        ce.tokenizer.truncation_side = case["truncate"]
        return [round(float(s), 7) for s in ce.predict([(case["text"], case["pair"])], show_progress_bar=False)]
    pipe = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer)
    asked = case["text"] if case["pair"] is None else dict(text=case["text"], text_pair=case["pair"])
    got = pipe(asked, top_k=None, truncation=True)
    by_label = {s["label"]: s["score"] for s in (got[0] if isinstance(got[0], list) else got)}
    return [round(by_label[label], 7) for label in recipe["labels"]]


def make(name, out, seed):
    family, task = name.rsplit("-", 1)
    recipe = dict(RECIPES[name], task=task)
    directory = out / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model = make_model(family, directory, recipe, seed)
    exact = type(model)(model.config).eval().double()
    exact.load_state_dict({k: v.double() for k, v in model.state_dict().items()}, strict=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    st = sentence_model(directory, recipe) if task == "embed" else None
    tensors, worst, answers = {}, 0.0, []
    cases = cases_of(recipe, tokenizer)
    for case in cases:
        encoded = encode(tokenizer, case)
        output, truth = run(model, encoded), run(exact, encoded)
        for got, want in zip(output.hidden_states, truth.hidden_states):
            worst = max(worst, (got.double() - want).abs().max().item())
        if case["name"] in HIDDEN and task == "embed":
            for layer, states in enumerate(output.hidden_states):
                tensors[f"{case['name']}/hidden/{layer}"] = states[0].clone()
        answer = embed(st, case) if st else output.logits[0]
        tensors[f"{case['name']}/answer"] = answer.clone()
        answers.append(answer.flatten()[-4:] if task == "tag" else answer.flatten()[:16])
        case["ids"] = encoded["input_ids"][0].tolist()
        types = encoded.get("token_type_ids")
        case["types"] = types[0].tolist() if types is not None and types.any() else []
        if task == "tag" or case["name"] in ("accents", "scripts", "controls", "combining"):
            case["offsets"] = encoded["offset_mapping"][0].tolist()
            case["special"] = encoded["special_tokens_mask"][0].tolist()
        if task == "tag":
            case["entities"] = entities(model, tokenizer, case)
        elif task != "embed":
            case["scores"] = scores(directory, model, tokenizer, recipe, case)
    # A comparison with f32 is only worth something where f32 itself is near the truth, and
    # a model that answers everything alike would let any implementation pass.
    assert worst < 4e-6, f"{name}: f32 is {worst:.1e} away from f64"
    alike = torch.stack([a for a in answers if len(a) == len(answers[0])])
    scale = alike.square().mean().sqrt() if task == "embed" else 2.0
    spread = (alike.std(0).max() / scale).item()
    assert spread > 0.2, f"{name}: the answers hardly differ: {spread}"
    versions = {m.__name__: m.__version__ for m in (torch, transformers, sentence_transformers)}
    about = dict(family=family, task=task, max_tokens=recipe.get("max_tokens", recipe["limit"]),
                 layers=recipe["size"][2], labels=recipe.get("labels", []), versions=versions)
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    head = json.dumps(about, ensure_ascii=False)[:-1]
    (directory / "golden.json").write_text(f'{head}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    safetensors.torch.save_file(tensors, directory / "golden.safetensors")
    size = sum(f.stat().st_size for f in directory.rglob("*") if f.is_file())
    print(f"{name:20} {len(cases):3} cases {size / 1024:6.1f} KiB  f32-f64 {worst:.1e}  spread {spread:.2f}")
    return size


def make_minilm(minilm, out):
    st = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    vectors = torch.tensor(st.encode(QUERIES, batch_size=1, show_progress_bar=False))
    (out / "minilm-64.json").write_text(json.dumps(QUERIES, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    safetensors.torch.save_file({"embeddings": vectors}, out / "minilm-64.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minilm", type=Path, help="directory of all-MiniLM-L6-v2")
    parser.add_argument("--only", help="this model alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    total = 0
    for seed, name in enumerate(RECIPES):
        if args.only in (None, name):
            total += make(name, args.out, 1000 + seed)
    print(f"together {total / 1024:.0f} KiB")
    if args.minilm:
        make_minilm(args.minilm, args.out)


if __name__ == "__main__":
    main()
