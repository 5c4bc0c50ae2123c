//! OpenAI's, the Open Inference Protocol's and Text Embeddings Inference's shapes.

use serde_json::json;

use crate::client::{Running, bits, builder, floats};

fn vector(text: &str) -> Vec<f32> {
    builder("bert-embed")
        .load()
        .unwrap()
        .embed([text])
        .unwrap()
        .remove(0)
}

/// OpenAI's clients ask for base64 unless told otherwise: they would read other vectors.
#[test]
fn openai_embeddings() {
    let server = Running::of(&[("m", "bert-embed"), ("c", "bert-classify")]);
    let expected = vector("turn on the lights");
    let ask = |extra: serde_json::Value| {
        let mut body =
            json!({"model": "m", "input": ["turn on the lights", "b"], "user": "u", "new": 1});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        server.post("/v1/embeddings", &body).json(200)
    };
    let got = ask(json!({}));
    assert_eq!(
        (&got["object"], &got["model"], &got["data"][1]["index"]),
        (&json!("list"), &json!("m"), &json!(1))
    );
    assert_eq!(bits(&floats(&got["data"][0]["embedding"])), bits(&expected));
    assert!(got["usage"]["prompt_tokens"].as_u64().unwrap() > 4);
    let got = ask(json!({"encoding_format": "base64"}));
    let bytes = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD
            .decode(got["data"][0]["embedding"].as_str().unwrap())
            .unwrap()
    };
    let values: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    assert_eq!(bits(&values), bits(&expected));
    let got = ask(json!({"dimensions": 2}));
    assert_eq!(floats(&got["data"][0]["embedding"]).len(), 2);
    let error = server
        .post("/v1/embeddings", &json!({"model": "c", "input": "a"}))
        .json(400);
    assert_eq!(error["error"]["type"], "invalid_request_error");
    let models = server.get("/v1/models").json(200);
    assert_eq!(
        (
            &models["data"][0]["id"],
            models["data"].as_array().unwrap().len()
        ),
        (&json!("m"), 2)
    );
    assert_eq!(server.get("/v1/models/c").json(200)["object"], "model");
    assert_eq!(
        server.get("/v1/models/x").json(404)["error"]["code"],
        "unknown_model"
    );
}

/// Triton's clients would misread tensors, or not find the model.
#[test]
fn open_inference() {
    let server = Running::of(&[
        ("m", "bert-embed"),
        ("c", "bert-classify"),
        ("r", "bert-rerank"),
    ]);
    let expected = vector("turn on the lights");
    assert_eq!(server.get("/v2").json(200)["name"], "batchwright");
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/v2/models/m/ready").status, 200);
    assert_eq!(server.get("/v2/models/m/versions/1/ready").status, 200);
    assert_eq!(
        server.get("/v2/models/m/versions/2/ready").json(404)["error"]
            .as_str()
            .unwrap()
            .split(':')
            .next(),
        Some("unknown_model")
    );
    let model = server.get("/v2/models/m").json(200);
    assert_eq!(
        model["outputs"][0],
        json!({"name": "embedding", "datatype": "FP32", "shape": [-1, expected.len()]})
    );
    assert_eq!(
        server.get("/v2/models/m/config").json(200)["input"][0]["data_type"],
        "TYPE_STRING"
    );

    let text = json!({"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [["turn on the lights"]]});
    let got = server
        .post("/v2/models/m/infer", &json!({"id": "7", "inputs": [text]}))
        .json(200);
    assert_eq!(
        (
            &got["id"],
            &got["model_version"],
            &got["outputs"][0]["shape"]
        ),
        (&json!("7"), &json!("1"), &json!([1, expected.len()]))
    );
    assert_eq!(bits(&floats(&got["outputs"][0]["data"])), bits(&expected));

    // The binary extension, both ways.
    let words = b"turn on the lights";
    let mut packed = (words.len() as u32).to_le_bytes().to_vec();
    packed.extend_from_slice(words);
    let head = json!({
        "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": packed.len()}}],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let body = [head.as_bytes(), &packed].concat();
    let length = head.len().to_string();
    let got = server.ask(
        "POST",
        "/v2/models/m/infer",
        &[("Inference-Header-Content-Length", &length)],
        &body,
    );
    assert_eq!(got.status, 200, "{}", got.text());
    let at: usize = got.headers["inference-header-content-length"]
        .parse()
        .unwrap();
    let head: serde_json::Value = serde_json::from_slice(&got.body[..at]).unwrap();
    assert_eq!(
        head["outputs"][0]["parameters"]["binary_data_size"],
        4 * expected.len()
    );
    let values: Vec<f32> = got.body[at..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    assert_eq!(bits(&values), bits(&expected));
    let broken = server.ask(
        "POST",
        "/v2/models/m/infer",
        &[("Inference-Header-Content-Length", "99999")],
        &body,
    );
    assert_eq!(broken.status, 400);

    // Scores in the model's order of labels, and pairs.
    let classifier = builder("bert-classify").load().unwrap();
    let all = classifier.with_rendering(engine::Rendering {
        top_k: Some(99),
        ..Default::default()
    });
    let labels = all.classify(["turn on the lights"]).unwrap().remove(0);
    let got = server
        .post("/v2/models/c/infer", &json!({"inputs": [text]}))
        .json(200);
    assert_eq!(got["outputs"][0]["data"][0], labels[0].label);
    let scores = floats(&got["outputs"][1]["data"]);
    for (label, score) in classifier.directory().labels().iter().zip(scores) {
        let known = labels.iter().find(|known| known.label == *label).unwrap();
        assert_eq!(known.score.to_bits(), score.to_bits());
    }
    let pair =
        json!({"name": "pair", "shape": [1], "datatype": "BYTES", "data": ["lights are on"]});
    let got = server
        .post("/v2/models/r/infer", &json!({"inputs": [text, pair]}))
        .json(200);
    let expected = builder("bert-rerank")
        .load()
        .unwrap()
        .rerank("turn on the lights", ["lights are on"])
        .unwrap();
    assert_eq!(bits(&floats(&got["outputs"][0]["data"])), bits(&expected));

    let index = server.post("/v2/repository/index", &json!({})).json(200);
    assert_eq!(
        index[0],
        json!({"name": "m", "version": "1", "state": "READY", "reason": ""})
    );
    server
        .post("/v2/repository/models/m/unload", &json!({}))
        .json(200);
    assert_eq!(server.get("/v2/models/m/ready").status, 503);
    assert_eq!(
        server.post("/v2/repository/index", &json!({})).json(200)[0]["state"],
        "UNAVAILABLE"
    );
    server
        .post("/v2/repository/models/m/load", &json!({}))
        .json(200);
    assert_eq!(server.get("/v2/models/m/ready").status, 200);
    let stats = server.get("/v2/models/c/stats").json(200);
    assert_eq!(stats["model_stats"][0]["inference_count"], 1);
}

/// Programs written for that server would get other shapes than they read.
#[test]
fn text_embeddings_inference() {
    let server = Running::of(&[
        ("m", "bert-embed"),
        ("c", "bert-classify"),
        ("r", "bert-rerank"),
    ]);
    let expected = vector("turn on the lights");
    for (path, inputs, rows) in [
        ("/embed", json!("turn on the lights"), 1),
        ("/embed", json!(["turn on the lights", "b"]), 2),
        ("/", json!("turn on the lights"), 1),
    ] {
        let got = server
            .post(path, &json!({"inputs": inputs, "truncate": true}))
            .json(200);
        assert_eq!(got.as_array().unwrap().len(), rows);
        assert_eq!(bits(&floats(&got[0])), bits(&expected));
    }
    let classifier = Running::of(&[("c", "bert-classify")]);
    let one = classifier
        .post("/predict", &json!({"inputs": "a b"}))
        .json(200);
    assert!(
        one[0]["score"].as_f64() >= one[1]["score"].as_f64(),
        "{one}"
    );
    assert!(one[0]["label"].is_string());
    let more = classifier
        .post("/predict", &json!({"inputs": [["a b"], ["c", "d"]]}))
        .json(200);
    assert_eq!((more.as_array().unwrap().len(), &more[0]), (2, &one));
    let ranks = server
        .post(
            "/rerank",
            &json!({"query": "lights", "texts": ["on", "off", "lights on"], "return_text": true}),
        )
        .json(200);
    let scores: Vec<f64> = ranks
        .as_array()
        .unwrap()
        .iter()
        .map(|rank| rank["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{ranks}");
    assert!(ranks[0]["text"].is_string());
    let tokens = server
        .post("/tokenize", &json!({"inputs": "the lights"}))
        .json(200);
    assert_eq!(
        (
            &tokens[0][0]["text"],
            &tokens[0][0]["special"],
            &tokens[0][0]["start"]
        ),
        (&json!("[CLS]"), &json!(true), &json!(null))
    );
    let bare = server
        .post(
            "/tokenize",
            &json!({"inputs": ["the lights"], "add_special_tokens": false}),
        )
        .json(200);
    assert_eq!(
        bare[0].as_array().unwrap().len() + 2,
        tokens[0].as_array().unwrap().len()
    );
    let info = server.get("/info").json(200);
    assert!(
        info["model_type"]["embedding"]["pooling"].is_string(),
        "{info}"
    );
    let long = server
        .post(
            "/embed",
            &json!({"inputs": "turn on the lights ".repeat(500), "truncate": false}),
        )
        .json(413);
    assert_eq!(long["error_type"], "Validation");
    assert_eq!(info["model_dtype"], "float32");

    // Though a model that embeds was named first.
    let labels = server.post("/predict", &json!({"inputs": "a b"})).json(200);
    assert_eq!(labels, one);
    let named = json!({"inputs": [["a b", "c"]], "model": "r"});
    let score = server.post("/predict", &named).json(200);
    assert_eq!(score[0].as_array().unwrap().len(), 1, "{score}");
    let unknown = server.post("/predict", &json!({"inputs": "a", "model": "x"}));
    assert!(unknown.json(404)["error"].as_str().unwrap().contains("`x`"));
    let wrong = server.post("/predict", &json!({"inputs": "a", "model": "m"}));
    assert_eq!(wrong.json(400)["error_type"], "Validation");

    for (path, body) in [
        ("/embed", json!({"inputs": []})),
        ("/embed", json!({"inputs": ""})),
        ("/embed", json!({"inputs": ["a", ""]})),
        ("/predict", json!({"inputs": ""})),
        ("/predict", json!({"inputs": []})),
        ("/rerank", json!({"query": "a", "texts": []})),
        (
            "/similarity",
            json!({"inputs": {"source_sentence": "a", "sentences": []}}),
        ),
    ] {
        let nothing = server.post(path, &body).json(400);
        assert_eq!(nothing["error_type"], "Empty", "{path} {body}");
    }

    let sentences =
        json!({"source_sentence": "turn on the lights", "sentences": ["turn on the lights", "b"]});
    let near = server
        .post("/similarity", &json!({"inputs": sentences}))
        .json(200);
    let near: Vec<f64> = near
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_f64().unwrap())
        .collect();
    assert!(
        (near[0] - 1.0).abs() < 1e-5 && near[1] < near[0],
        "{near:?}"
    );
}
