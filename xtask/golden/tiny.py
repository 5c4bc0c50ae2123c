"""Tiny random models: tokenizers of the right kinds, and encoders of the five families."""

import json
import math
from collections import Counter

import torch
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from texts import CORPUS

# Sizes of the vocabularies; the byte-level one holds all 256 bytes.
WORDPIECES, BYTE_PAIRS, UNIGRAMS = 190, 285, 160

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MPNET_SPECIALS = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]


def pieces(words, start, inner, longest):
    """Counts the pieces of words: `start` marks those at the beginning, `inner` the others.

    The library's own trainers number pieces in the order of a hash map, differently each time;
    golden files must come out the same, so the counting is done here.
    """
    found = Counter()
    for word, times in Counter(words).items():
        for i in range(len(word)):
            for j in range(i + 1, min(len(word), i + longest) + 1):
                found[(inner if i else start) + word[i:j]] += times
    letters = sorted(p for p in found if len(p.removeprefix(inner).removeprefix(start)) == 1)
    # What a piece saves: its letters but one, each time it occurs.
    longer = sorted(found.keys() - set(letters), key=lambda p: (-found[p] * (len(p) - 1), p))
    return letters, longer, found


def wordpiece(specials, unknown, post):
    """BERT's tokenizer, uncased; MPNet's differs in its special tokens alone."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = [
        word
        for line in CORPUS
        for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(line))
    ]
    letters, longer, _ = pieces(words, "", "##", 8)
    vocab = (specials + letters + [p for p in longer if len(p) > 4])[:WORDPIECES]
    tok = Tokenizer(models.WordPiece({p: i for i, p in enumerate(vocab)}, unk_token=unknown))
    tok.normalizer, tok.pre_tokenizer = normalizer, pre_tokenizer
    tok.decoder = decoders.WordPiece()
    tok.post_processor = post(tok)
    return tok


def cls_sep(tok):
    ids = [(t, tok.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )


def roberta_post(tok):
    pair = [(t, tok.token_to_id(t)) for t in ("</s>", "<s>")]
    return processors.RobertaProcessing(*pair, trim_offsets=True, add_prefix_space=False)


def byte_level():
    """RoBERTa's tokenizer: byte-level BPE over all 256 bytes."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BYTE_PAIRS,
        special_tokens=ROBERTA_SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tok.train_from_iterator(CORPUS, trainer)
    tok.post_processor = roberta_post(tok)
    return tok


def unigram():
    """XLM-RoBERTa's tokenizer: SentencePiece's unigram model with metaspaces."""
    letters, longer, found = pieces((w for line in CORPUS for w in line.split()), "\u2581", "", 6)
    known = sorted({"\u2581", *letters, *(p[-1] for p in letters)})
    known += longer[: UNIGRAMS - len(known)]
    scores = [(p, round(math.log(found.get(p, 1) / found.total()), 5)) for p in known]
    specials = [(p, 0.0) for p in ROBERTA_SPECIALS[:4]]
    tok = Tokenizer(models.Unigram(specials + scores + [("<mask>", 0.0)], 3, False))
    tok.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tok.decoder = decoders.Metaspace()
    ids = [(t, tok.token_to_id(t)) for t in ("<s>", "</s>")]
    tok.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
    )
    return tok


def add_specials(tok, specials):
    """Marks the special tokens so that they are found in texts, as the real files do."""
    for name in specials:
        tok.add_special_tokens([AddedToken(name, lstrip=name == "<mask>", special=True)])


def make_tokenizer(family):
    if family in ("bert", "distilbert"):
        tok, specials = wordpiece(BERT_SPECIALS, "[UNK]", cls_sep), BERT_SPECIALS
    elif family == "mpnet":
        tok, specials = wordpiece(MPNET_SPECIALS, "[UNK]", roberta_post), MPNET_SPECIALS
    elif family == "roberta":
        tok, specials = byte_level(), ROBERTA_SPECIALS
    else:
        tok, specials = unigram(), ROBERTA_SPECIALS
    add_specials(tok, specials)
    return tok, specials


def write_tokenizer(family, directory, limit):
    tok, specials = make_tokenizer(family)
    if family == "bert":
        # As in MiniLM's file: both must be overridden by whoever reads it.
        tok.enable_truncation(7)
        tok.enable_padding(length=9)
    tok.save(str(directory / "tokenizer.json"), pretty=False)
    names = {"bert": (2, 3, 0, 1, 4), "distilbert": (2, 3, 0, 1, 4)}.get(family, (0, 2, 1, 3, 4))
    cls, sep, pad, unk, mask = (specials[i] for i in names)
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": limit,
        "model_input_names": inputs if family == "bert" else inputs[::2],
        "cls_token": cls,
        "sep_token": sep,
        "pad_token": pad,
        "unk_token": unk,
        "mask_token": mask,
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    return tok.get_vocab_size()


def make_config(family, vocabulary, recipe):
    """A small configuration. Sizes are awkward on purpose: no width is a multiple of another."""
    hidden, heads, layers = recipe["size"]
    classes = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
        "distilbert": transformers.DistilBertConfig,
        "mpnet": transformers.MPNetConfig,
    }
    if family == "distilbert":
        shape = dict(dim=hidden, n_heads=heads, n_layers=layers, hidden_dim=hidden + 5)
        shape["activation"] = recipe.get("activation", "gelu")
    else:
        shape = dict(
            hidden_size=hidden,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            intermediate_size=hidden + 5,
            hidden_act=recipe.get("activation", "gelu"),
        )
    # RoBERTa's positions and MPNet's begin after the padding index: two rows more than tokens.
    positions = recipe["limit"] + (0 if family in ("bert", "distilbert") else 2)
    special = {} if family in ("bert", "distilbert") else dict(bos_token_id=0, eos_token_id=2)
    if family in ("roberta", "xlm-roberta"):
        special.update(type_vocab_size=1, layer_norm_eps=1e-5)
    if family == "mpnet":
        special.update(layer_norm_eps=1e-5)
    labels = recipe.get("labels")
    if labels:
        special["id2label"] = dict(enumerate(labels))
        special["label2id"] = {label: i for i, label in enumerate(labels)}
    return classes[family](
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        pad_token_id=0 if family in ("bert", "distilbert") else 1,
        attn_implementation="eager",
        **shape,
        **special,
        **recipe.get("config", {}),
    )


def randomise(model, seed):
    """Weights of a size at which every part matters: nothing saturates and nothing vanishes."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=dice)
            if "norm" in name.lower():
                p.copy_(1 + 0.2 * noise if name.endswith("weight") else 0.2 * noise)
            elif name.endswith("bias"):
                p.copy_(0.2 * noise)
            elif "embeddings" in name or "relative_attention_bias" in name:
                p.copy_(noise)
            elif name in ("classifier.weight", "classifier.out_proj.weight"):
                p.copy_(noise * 4.0 / p.shape[1] ** 0.5)
            else:
                p.copy_(noise * 1.2 / p.shape[1] ** 0.5)


def make_model(family, directory, recipe, seed):
    """Writes the model's directory; returns the model as f32 with the weights as they were saved."""
    vocabulary = write_tokenizer(family, directory, recipe["limit"])
    config = make_config(family, vocabulary, recipe)
    kinds = {
        "embed": transformers.AutoModel,
        "tag": transformers.AutoModelForTokenClassification,
    }
    kind = kinds.get(recipe["task"], transformers.AutoModelForSequenceClassification)
    model = kind.from_config(config).eval()
    randomise(model, seed)
    dtype = getattr(torch, recipe.get("dtype", "float32"))
    model = model.to(dtype)
    model.save_pretrained(directory, max_shard_size=recipe.get("shard", "1GB"))
    return kind.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
