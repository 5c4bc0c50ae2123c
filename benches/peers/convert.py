"""Makes what the peers read out of one checkpoint: ONNX, OpenVINO and CTranslate2 files, f32 and int8.

    python benches/peers/convert.py MODEL OUT CALIBRATION

MODEL is a directory of sentence-transformers whose encoder is BERT or DistilBERT, CALIBRATION a file
with a JSON list of texts. What OUT has already is not made again. What a library cannot convert is
named on standard error and left out.

Pooling (mean) and normalising are in the ONNX graph. Attention is spelled out in the way in which
ONNX Runtime's optimiser recognises it.
"""

import json
import os
import shutil
import sys
import traceback
from pathlib import Path

import torch
import transformers

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]

SHAPES = {
    "distilbert": lambda: transformers.DistilBertModel(transformers.DistilBertConfig()),
    "bert-base": lambda: transformers.BertModel(transformers.BertConfig()),
}


def random_model(shape, tokenizer, out):
    """A model of a known shape with random weights, and the tokenizer of the directory given."""
    from sentence_transformers import SentenceTransformer, models

    torch.manual_seed(20240)
    plain = out.with_name(out.name + "-plain")
    SHAPES[shape]().eval().save_pretrained(plain)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(tokenizer / name, plain / name)
    encoder = models.Transformer(str(plain), max_seq_length=256)
    pooling = models.Pooling(encoder.get_word_embedding_dimension(), "mean")
    SentenceTransformer(modules=[encoder, pooling, models.Normalize()], device="cpu").save(str(out))
    shutil.rmtree(plain)


def layers(encoder):
    """The modules of each layer by the same names, whichever family they are of."""
    if hasattr(encoder, "transformer"):
        for layer in encoder.transformer.layer:
            a = layer.attention
            yield dict(q=a.q_lin, k=a.k_lin, v=a.v_lin, out=a.out_lin, norm=layer.sa_layer_norm,
                       up=layer.ffn.lin1, down=layer.ffn.lin2, last=layer.output_layer_norm)
    else:
        for layer in encoder.encoder.layer:
            a, out = layer.attention.self, layer.attention.output
            yield dict(q=a.query, k=a.key, v=a.value, out=out.dense, norm=out.LayerNorm,
                       up=layer.intermediate.dense, down=layer.output.dense, last=layer.output.LayerNorm)


class Embedder(torch.nn.Module):
    """Ids to normalised vectors."""

    def __init__(self, model):
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(model, attn_implementation="eager")
        self.heads = self.encoder.config.num_attention_heads
        self.hidden = self.encoder.config.hidden_size
        self.typed = hasattr(self.encoder.embeddings, "token_type_embeddings")

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        width = self.hidden // self.heads

        def split(x):
            return x.view(x.size()[:-1] + (self.heads, width)).permute(0, 2, 1, 3)

        types = dict(token_type_ids=token_type_ids) if self.typed else {}
        x = self.encoder.embeddings(input_ids=input_ids, **types)
        mask = attention_mask.unsqueeze(1).unsqueeze(2).to(torch.float32)
        mask = (1.0 - mask) * torch.finfo(torch.float32).min
        for m in layers(self.encoder):
            q, k, v = split(m["q"](x)), split(m["k"](x)), split(m["v"](x))
            weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / width**0.5 + mask, -1)
            mixed = torch.matmul(weights, v).permute(0, 2, 1, 3).contiguous()
            x = m["norm"](m["out"](mixed.view(mixed.size()[:-2] + (self.hidden,))) + x)
            x = m["last"](m["down"](torch.nn.functional.gelu(m["up"](x))) + x)
        kept = attention_mask.unsqueeze(-1).to(x.dtype)
        mean = (x * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def plain_graph(model, out):
    embedder = Embedder(model).eval()
    names = INPUTS if embedder.typed else INPUTS[:2]
    sample = tuple(torch.ones(2, 7, dtype=torch.int64) for _ in names)
    sample[1][1, 4:] = 0
    torch.onnx.export(
        embedder, sample, str(out), input_names=names, output_names=["embedding"],
        dynamic_axes={n: {0: "batch", 1: "tokens"} for n in names}, opset_version=17, dynamo=False,
    )


def fused_graph(model, plain, out):
    from onnxruntime.transformers import optimizer

    config = transformers.AutoConfig.from_pretrained(model)
    fused = optimizer.optimize_model(
        str(plain), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
    )
    counts = {k: v for k, v in fused.get_fused_operator_statistics().items() if v}
    print(f"fused: {counts}", file=sys.stderr)
    fused.save_model_to_file(str(out))


# Dynamic int8 of ONNX Runtime. A scale per output channel is as fast as one per tensor and keeps a mean
# cosine of 0.992, not 0.963 (MiniLM, 250 queries); without VNNI its product of u8 and s8 may saturate at 16 bits,
# but seven-bit weights (`reduce_range`, 0.991) are not better, and u8 weights (0.982) are slower by a fifth.
INT8 = {"s8-channels": dict(weight_type="QInt8", per_channel=True)}


def int8_graph(graph, out, options):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = dict(options, weight_type=getattr(QuantType, options["weight_type"]))
    # The fused graph has operators whose output types are not inferred.
    quantize_dynamic(str(graph), str(out), extra_options=dict(DefaultTensorType=onnx.TensorProto.FLOAT), **options)


def openvino(plain, out):
    import openvino as ov

    ov.save_model(ov.convert_model(str(plain)), str(out), compress_to_fp16=False)


def openvino_static(plain, model, texts, out):
    """Weights and activations in int8, ranges from the calibration texts."""
    import nncf
    import openvino as ov
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    graph = ov.convert_model(str(plain))
    names = [i.any_name for i in graph.inputs]

    def feed(text):
        ids = torch.tensor([tokenizer.encode(text).ids])
        values = dict(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
        return {name: values[name].numpy() for name in names}

    done = nncf.quantize(graph, nncf.Dataset(texts, feed), model_type=nncf.ModelType.TRANSFORMER,
                         subset_size=len(texts))
    ov.save_model(done, str(out), compress_to_fp16=False)


def openvino_weights(plain, out):
    """Weights in int8; activations as the plug-in sees fit."""
    import nncf
    import openvino as ov

    graph = ov.convert_model(str(plain))
    ov.save_model(nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_SYM), str(out),
                  compress_to_fp16=False)


def ctranslate2(model, out):
    from ctranslate2.converters import TransformersConverter

    class Converter(TransformersConverter):
        def load_model(self, model_class, name, **options):
            loaded = super().load_model(model_class, name, **options)
            if not hasattr(loaded.config, "position_embedding_type"):
                loaded.config.position_embedding_type = "absolute"
            return loaded

    Converter(str(model)).convert(str(out))


def main():
    model, out, texts = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    out.mkdir(parents=True, exist_ok=True)

    def make(name, work):
        if (out / name).exists():
            return
        try:
            work(out / name)
        except Exception as error:  # A comparison without this one is still a comparison.
            if os.environ.get("PEERS_TRACE"):
                traceback.print_exc()
            print(f"{name} could not be made: {type(error).__name__}: {error}", file=sys.stderr)

    plain, fused = out / "plain.onnx", out / "fused.onnx"
    make("plain.onnx", lambda to: plain_graph(model, to))
    make("fused.onnx", lambda to: fused_graph(model, plain, to))
    for graph in (plain, fused):
        for name, options in INT8.items():
            make(f"{graph.stem}-{name}.onnx", lambda to, g=graph, o=options: int8_graph(g, to, o))
    make("f32.xml", lambda to: openvino(plain, to))
    make("static.xml", lambda to: openvino_static(plain, model, texts, to))
    make("weights.xml", lambda to: openvino_weights(plain, to))
    make("ctranslate2", lambda to: ctranslate2(model, to))


if __name__ == "__main__":
    main()
