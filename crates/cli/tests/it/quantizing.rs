//! `quantize`: written whole or not at all, used by every command, honest about what it costs.

use serde_json::json;

use crate::workplace::{Workplace, csv, floats, model};

fn names(place: &Workplace) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(place.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".cache")
        .collect();
    names.sort();
    names
}

/// A quantised model that some command would not take, or that answers otherwise than `--precision`.
#[test]
fn a_quantised_model_serves_every_task() {
    for (task, name, pair) in [
        ("embed", "bert-embed", false),
        ("classify", "roberta-classify", false),
        ("classify", "distilbert-classify", false),
        ("rerank", "xlm-roberta-rerank", true),
        ("tag", "mpnet-tag", false),
    ] {
        let place = Workplace::new();
        let rows: Vec<String> = (0..12)
            .map(|row| {
                json!({"text": format!("turn on {row} lights"), "pair": "the balance"}).to_string()
            })
            .collect();
        place.write("in.jsonl", rows.join("\n"));
        let model = model(name);
        for precision in ["near", "fast"] {
            let out = format!("{name}-{precision}");
            let ran = place
                .run(&["quantize", &model, "-o", &out, "--precision", precision])
                .ok();
            let text = ran.text();
            for words in ["accuracy", "48 rows", "loading", &out] {
                let words = if pair {
                    words.replace("48", "288")
                } else {
                    words.to_owned()
                };
                assert!(text.contains(&words), "no {words:?} in\n{text}");
            }
            let mut words = vec![task, "in.jsonl"];
            if pair {
                words.extend(["--pair-column", "pair"]);
            }
            let mapped = place.run(&[&words[..], &["-m", &out]].concat()).ok();
            let packed = ["-m", &model, "--precision", precision];
            let packed = place.run(&[&words[..], &packed].concat()).ok();
            assert_eq!(mapped.text(), packed.text(), "{name} {precision}");
        }
        assert_eq!(names(&place).len(), 3, "{:?}", names(&place));
    }
}

/// The summary would not say in which precision the answers were computed, or bench and a cache would not
/// know the model from its original.
#[test]
fn the_precision_comes_with_the_model() {
    let place = Workplace::new();
    place.write("in.csv", csv(20));
    place
        .run(&[
            "quantize",
            &model("bert-embed"),
            "-o",
            "near",
            "--precision",
            "near",
        ])
        .ok();
    let words = [
        "embed",
        "in.csv",
        "-m",
        "near",
        "-o",
        "a.jsonl",
        "--summary-json",
        "s.json",
    ];
    place.run(&words).ok();
    let summary: serde_json::Value = serde_json::from_slice(&place.read("s.json")).unwrap();
    assert_eq!(summary["precision"], "near");
    place
        .run(&["embed", "in.csv", "-m", "near", "--precision", "fast"])
        .code(1)
        .says("was quantised as `near`")
        .says("leave the precision out");
    let words = [
        "bench",
        "in.csv",
        "-m",
        "near",
        "--rounds",
        "1",
        "--queries",
        "1",
    ];
    place
        .run(&[&words[..], &["--try-batch-tokens", "64"]].concat())
        .ok();
    // A job that was begun with the original does not go on with the quantised model.
    place
        .run(&[
            "embed",
            "in.csv",
            "-m",
            &model("bert-embed"),
            "-o",
            "a.jsonl",
        ])
        .code(1)
        .says("model");
}

/// A model that lost too much would be deployed, or half of it be left on the disk.
#[test]
fn a_model_that_agrees_too_little_is_not_written() {
    let place = Workplace::new();
    let words = [
        "quantize",
        &model("bert-embed"),
        "-o",
        "out",
        "--min-agreement",
    ];
    place
        .run(&[&words[..], &["1", "--summary-json", "s.json"]].concat())
        .code(1)
        .says("less than --min-agreement 1: nothing was written")
        .says("--keep-near");
    assert_eq!(names(&place), ["s.json"]);
    let summary: serde_json::Value = serde_json::from_slice(&place.read("s.json")).unwrap();
    let mean = summary["agreement"]["mean"].as_f64().unwrap();
    assert!((0.9..1.0).contains(&mean), "{mean}");
    let ran = place.run(&[&words[..], &["0.9"]].concat()).ok();
    assert!(ran.text().contains("cosine to exact over 48 rows"));

    place
        .run(&["quantize", &model("bert-embed"), "-o", "out"])
        .code(1)
        .says("is there already")
        .says("--force");
    let words = [
        "quantize",
        &model("bert-embed"),
        "-o",
        "out",
        "--force",
        "--keep-near",
    ];
    place
        .run(&[&words[..], &["layers.0,layers.1.down"]].concat())
        .ok();
    let manifest: serde_json::Value =
        serde_json::from_slice(&place.read("out/batchwright.json")).unwrap();
    assert_eq!(manifest["products"][0]["bits"], 16);
    assert_eq!(manifest["products"][4]["bits"], 8);
    assert_eq!(names(&place), ["out", "s.json"]);
    let row = place.run_with(
        &["embed", "-", "-m", "out", "--input-format", "lines"],
        b"turn on\n",
    );
    assert_eq!(floats(&row.ok().rows()[0]["embedding"]).len(), 32);
}

/// Accuracy would be counted against the wrong rows, or a mistake in the flags cost an hour.
#[test]
fn accuracy_is_counted_on_labelled_rows() {
    let place = Workplace::new();
    let classifier = model("bert-classify");
    place.write("texts.csv", csv(30));
    let answered = place
        .run(&["classify", "texts.csv", "-m", &classifier])
        .ok()
        .rows();
    // What the exact model says is the truth here, but for two rows: one with another label, one with none.
    let labels: Vec<String> = answered
        .iter()
        .map(|row| row["label"].as_str().unwrap_or_default().to_owned())
        .collect();
    let other = labels.iter().find(|label| **label != labels[3]);
    let other = other.map_or("no label", String::as_str);
    let mut csv = String::from("text,intent\n");
    for (row, label) in answered.iter().zip(&labels) {
        let text = row["text"].as_str().unwrap();
        let label = match row["id"].as_str().unwrap() {
            "3" => other,
            "4" => "",
            _ => label,
        };
        csv.push_str(&format!("{text},{label}\n"));
    }
    place.write("labelled.csv", csv);
    let words = [
        "quantize",
        &classifier,
        "-o",
        "out",
        "--calibration",
        "labelled.csv",
    ];
    let words = [
        &words[..],
        &["--label-column", "intent", "--summary-json", "s.json"],
    ]
    .concat();
    place
        .run(&words)
        .ok()
        .says("1 row could not be read or answered");
    let summary: serde_json::Value = serde_json::from_slice(&place.read("s.json")).unwrap();
    let agreement = &summary["agreement"];
    assert_eq!(agreement["rows"], 29);
    let exact = agreement["accuracy"]["exact"].as_f64().unwrap();
    assert!((exact - 28.0 / 29.0).abs() < 1e-9, "{exact}");
    assert!(agreement["same"].as_f64().unwrap() > 0.5);

    for (words, says) in [
        (&["--label-column", "intent"][..], "say which file"),
        (
            &["--calibration", "texts.csv", "--label-column", "nothing"],
            "nothing",
        ),
        (&["--calibration", "none.csv"], "none.csv"),
        (
            &["--calibration", "-"],
            "standard input cannot be read twice",
        ),
        (&["--precision", "exact"], "choose near or fast"),
        (&["--min-agreement", "2"], "from 0 to 1"),
        (&["--keep-near", "layer.1"], "names no product"),
        (&["--keep-near", "layers.7"], "the layers 0 to 0"),
    ] {
        let all = [&["quantize", &classifier, "-o", "none"][..], words].concat();
        place.run(&all).code(1).says(says);
    }
    let embedder = model("bert-embed");
    let words = [
        "quantize",
        &embedder,
        "-o",
        "none",
        "--calibration",
        "labelled.csv",
    ];
    place
        .run(&[&words[..], &["--label-column", "intent"]].concat())
        .code(1)
        .says("labels exclude each other");
    assert_eq!(
        names(&place),
        ["labelled.csv", "out", "s.json", "texts.csv"]
    );
}
