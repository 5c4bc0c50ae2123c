"""Tables and a chart of what compare.py measured.

    python benches/peers/report.py peers.json --table peers.md --chart docs/images/peers.svg
"""

import argparse
import json
import statistics
from pathlib import Path

NAMES = {
    "batchwright-exact": "Batchwright `exact` (f32)",
    "batchwright-near": "Batchwright `near` (int16)",
    "batchwright-fast": "Batchwright `fast` (int8)",
    "sentence-transformers": "sentence-transformers f32",
    "onnxruntime": "ONNX Runtime f32",
    "onnxruntime-int8": "ONNX Runtime int8",
    "openvino": "OpenVINO f32",
    "openvino-int8": "OpenVINO int8",
    "ctranslate2": "CTranslate2 f32",
    "ctranslate2-int8": "CTranslate2 int8",
    "rten": "rten f32",
    "rten-int8": "rten int8",
    "candle": "candle f32",
}
MODELS = {"minilm": "MiniLM-L6", "distilbert": "DistilBERT shape", "bert-base": "BERT-base shape"}
WORKLOADS = {"short": "short queries", "mixed": "mixed lengths", "long": "all of 256 tokens", "query": "one query"}


def ours(engine):
    return engine.startswith("batchwright")


def exact(engine):
    """Computes in f32."""
    return not engine.endswith(("-int8", "-near", "-fast"))


def middle(record, key="seconds"):
    return statistics.median(record[key])


def best_peer(engines, key, wanted):
    """The fastest of the peers for which `wanted` holds."""
    names = [name for name in engines if not ours(name) and wanted(name)]
    return min(names, key=lambda name: middle(engines[name], key), default=None)


def ratio(engines, peer, name, key):
    """How many times as fast as the peer: rounds are paired, so that drift between them cancels."""
    if peer is None:
        return "-"
    pairs = zip(engines[peer][key], engines[name][key])
    return f"{statistics.median(a / b for a, b in pairs):.2f}"


def said(setting):
    """A setting in words."""
    parts = []
    setting = setting or {}
    if setting.get("graph"):
        parts.append(setting["graph"].rsplit(".", 1)[0] + (" graph" if setting["graph"].endswith(".onnx") else ""))
    if setting.get("layout"):
        parts.append("{} × {} thread(s)".format(*setting["layout"]))
    if setting.get("batch"):
        parts.append(f"batches of {setting['batch']}")
    return ", ".join(parts)


def cosine(engine, which):
    """Not there where sentence-transformers was left out."""
    found = engine.get(f"{which}_cosine")
    return "-" if found is None else f"{found:.5f}"


def megabytes(count):
    return f"{count / 1e6:.0f}" if count else "-"


def throughput(part):
    engines, texts, tokens = part["engines"], part["texts"], part["tokens"]
    f32 = best_peer(engines, "seconds", exact)
    int8 = best_peer(engines, "seconds", lambda name: not exact(name))
    yield f"{texts:,} texts, {tokens:,} tokens ({part['spread']}), {part['rounds']} rounds.\n"
    yield "| engine | texts/s, median | slowest to fastest | tokens/s | to the best f32 peer | to the best int8 peer | mean cosine | least cosine | peak MB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in sorted(engines, key=lambda name: (not ours(name), middle(engines[name]))):
        e = engines[name]
        took = e["seconds"]
        shown = f"**{NAMES[name]}**" if ours(name) else NAMES[name]
        yield (f"| {shown} | {texts / middle(e):,.0f} | {texts / max(took):,.0f} to {texts / min(took):,.0f} "
               f"| {tokens / middle(e):,.0f} | {ratio(engines, f32, name, 'seconds')} | "
               f"{ratio(engines, int8, name, 'seconds')} | {cosine(e, 'mean')} | {cosine(e, 'least')} | "
               f"{megabytes(e['bytes'])} |")


def query(part):
    engines = part["engines"]
    f32 = best_peer(engines, "p50", exact)
    yield f"{part['texts']} queries of 10 tokens one after the other, after {part['warm']} to warm up; medians of {part['rounds']} rounds.\n"
    yield "| engine | p50 ms | p99 ms | p50 to ONNX Runtime f32 | p50 to ONNX Runtime int8 | setting |"
    yield "|---|---|---|---|---|---|"
    for name in sorted(engines, key=lambda name: (not ours(name), middle(engines[name], "p50"))):
        e = engines[name]
        shown = f"**{NAMES[name]}**" if ours(name) else NAMES[name]
        beside = [
            f"{statistics.median(a / b for a, b in zip(e['p50'], engines[peer]['p50'])):.2f}" if peer in engines else "-"
            for peer in ("onnxruntime", "onnxruntime-int8")
        ]
        yield (f"| {shown} | {middle(e, 'p50') * 1e3:.2f} | {middle(e, 'p99') * 1e3:.2f} | "
               f"{beside[0]} | {beside[1]} | {said(e['setting'])} |")
    assert f32 is None or f32 in engines


def settings(parts):
    yield "| model, workload | engine | fastest setting |"
    yield "|---|---|---|"
    for part in parts:
        for name, e in part["engines"].items():
            if e["setting"] and part["workload"] != "query":
                yield f"| {MODELS[part['model']]}, {WORKLOADS[part['workload']]} | {NAMES[name]} | {said(e['setting'])} |"


def table(results):
    about = results["about"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    yield f"{about['cores']} cores of {about['processor']}, {about['threads']} threads each; {packages}; {about['batchwright']}.\n"
    for part in results["parts"]:
        yield f"### {MODELS[part['model']]}, {WORKLOADS[part['workload']]}\n"
        yield from query(part) if part["workload"] == "query" else throughput(part)
        yield ""
    yield "### Settings\n"
    yield from settings(results["parts"])


# Okabe and Ito's colours, which the colour-blind tell apart.
OURS, F32, INT8 = "#d55e00", "#0072b2", "#56b4e9"


def colour(name):
    return OURS if ours(name) else F32 if exact(name) else INT8


def chart(results, width=960):
    """Throughput as horizontal bars: a panel for each part, in multiples of its best f32 peer."""
    parts = [part for part in results["parts"] if part["workload"] != "query"]
    left, bar, gap, head = 270, 22, 6, 46
    room = width - left - 130
    top, body = 62, []
    for part in parts:
        engines, texts = part["engines"], part["texts"]
        base = middle(engines[best_peer(engines, "seconds", exact)])
        names = sorted(engines, key=lambda name: middle(engines[name]))
        longest = base / middle(engines[names[0]])
        title = f"{MODELS[part['model']]}, {WORKLOADS[part['workload']]} ({part['spread']})"
        body.append(f'<text x="12" y="{top + 26}" class="head">{title}</text>')
        one = left + room / longest
        foot = top + head + len(names) * (bar + gap)
        for at, name in enumerate(names):
            times = base / middle(engines[name])
            y = top + head - 6 + at * (bar + gap)
            label = NAMES[name].replace("`", "")
            mark = ' class="ours"' if ours(name) else ""
            body.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end"{mark}>{label}</text>')
            body.append(f'<rect x="{left}" y="{y}" width="{room * times / longest:.1f}" height="{bar}" fill="{colour(name)}"/>')
            rate = texts / middle(engines[name])
            body.append(f'<text x="{left + room * times / longest + 8:.1f}" y="{y + 16}"{mark}>{rate:,.0f}/s  ×{times:.2f}</text>')
        body.append(f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{top + head - 12}" y2="{foot - 8}" class="one"/>')
        top = foot + 8
    legend = []
    for at, (fill, word) in enumerate(((OURS, "Batchwright"), (F32, "peers in f32"), (INT8, "peers in int8"))):
        x = 12 + at * 170
        legend.append(f'<rect x="{x}" y="38" width="16" height="16" fill="{fill}"/><text x="{x + 22}" y="51">{word}</text>')
    legend.append('<text x="530" y="51">dashed: the best f32 peer, ×1.00</text>')
    style = ("text{font:15px sans-serif;fill:#222}.head{font-weight:bold;font-size:17px}"
             ".ours{font-weight:bold}.one{stroke:#222;stroke-dasharray:5 4}")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" height="{top}">',
        f"<style>{style}</style>", f'<rect width="{width}" height="{top}" fill="#fff"/>',
        f'<text x="12" y="26" class="head">Texts a second, strings to vectors, {results["about"]["threads"]} threads: higher is better</text>',
        *legend, *body, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--chart", type=Path)
    args = parser.parse_args()
    results = json.loads(args.results.read_text())
    text = "\n".join(table(results)) + "\n"
    if args.table:
        args.table.write_text(text)
    else:
        print(text)
    if args.chart:
        args.chart.write_text(chart(results))


if __name__ == "__main__":
    main()
