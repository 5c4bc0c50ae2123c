//! The server's own routes.

use engine::{Input, Prediction};
use serde_json::{Value, json};
use testing::golden::Golden;

use crate::client::{Running, bits, builder, floats};

const MODELS: [(&str, &str); 4] = [
    ("embedder", "bert-embed"),
    ("classifier", "bert-classify"),
    ("ranker", "bert-rerank"),
    ("tagger", "bert-tag"),
];

fn inputs(golden: &Golden) -> Vec<Input> {
    let input = |case: &testing::golden::Case| match &case.pair {
        Some(pair) => Input::Pair(case.text.clone(), pair.clone()),
        None => Input::Text(case.text.clone()),
    };
    golden.cases.iter().map(input).collect()
}

fn row(input: &Input) -> serde_json::Value {
    match input {
        Input::Text(text) => json!(text),
        Input::Pair(first, second) => json!([first, second]),
    }
}

/// Somebody who compares offline results with the server's would see other numbers, or depend on what
/// other people ask at the same time.
#[test]
fn answers_are_those_of_the_offline_model_bit_for_bit() {
    let server = Running::of(&MODELS);
    for (name, golden) in MODELS {
        let model = builder(golden).load().unwrap();
        let inputs = inputs(&Golden::load(golden));
        let expected = model.predict_batch(&inputs, |_| {});
        let rows: Vec<_> = inputs.iter().map(row).collect();
        let body = json!({"model": name, "texts": rows});
        // The second time the cache answers.
        for _ in 0..2 {
            let got = server.post("/predict", &body).json(200);
            compare(&got["results"], &expected);
        }
        for (row, expected) in rows.iter().zip(&expected) {
            let body = json!({"model": name, "text": row, "cache": false});
            match expected {
                Ok(_) => compare(
                    &server.post("/predict", &body).json(200)["results"],
                    std::slice::from_ref(expected),
                ),
                Err(_) => assert_eq!(server.post("/predict", &body).status / 100, 4),
            }
        }
    }
}

fn compare(results: &serde_json::Value, expected: &[Result<Prediction, engine::RowError>]) {
    assert_eq!(results.as_array().unwrap().len(), expected.len());
    for (row, expected) in results.as_array().unwrap().iter().zip(expected) {
        match expected {
            Ok(Prediction::Embedding(vector)) => {
                assert_eq!(bits(&floats(&row["embedding"])), bits(vector));
            }
            Ok(Prediction::Score(score)) => {
                assert_eq!(bits(&floats(&json!([row["score"]]))), bits(&[*score]));
            }
            Ok(Prediction::Labels(labels)) => {
                assert_eq!(row["label"], labels[0].label);
                assert_eq!(
                    bits(&floats(&json!([row["score"]]))),
                    bits(&[labels[0].score])
                );
            }
            Ok(Prediction::Entities(entities)) => {
                let found = row["entities"].as_array().unwrap();
                assert_eq!(found.len(), entities.len());
                for (found, entity) in found.iter().zip(entities) {
                    assert_eq!(found["label"], entity.label);
                    assert_eq!(found["text"], entity.text);
                    assert_eq!(
                        (&found["start"], &found["end"]),
                        (&json!(entity.start), &json!(entity.end))
                    );
                    assert_eq!(
                        bits(&floats(&json!([found["score"]]))),
                        bits(&[entity.score])
                    );
                }
            }
            Err(error) => assert_eq!(row["error"]["code"], error.code),
        }
    }
}

/// A request would be answered by a model of another task, or by none although there is one.
#[test]
fn the_model_is_found_by_name_or_by_task() {
    let server = Running::of(&MODELS);
    for (path, name) in [
        ("/embed", "embedder"),
        ("/classify", "classifier"),
        ("/tag", "tagger"),
    ] {
        let got = server
            .post(path, &json!({"text": "turn on the lights"}))
            .json(200);
        assert_eq!(got["model"], name, "{path}");
    }
    let got = server
        .post(
            "/rerank",
            &json!({"query": "lights", "passages": ["on", "off"]}),
        )
        .json(200);
    assert_eq!(
        (&got["model"], got["results"].as_array().unwrap().len()),
        (&json!("ranker"), 2)
    );
    let wrong = server.post("/embed", &json!({"model": "tagger", "text": "a"}));
    assert_eq!(wrong.code(400), "wrong_task");
    let unknown = server
        .post("/embed", &json!({"model": "nobody", "text": "a"}))
        .json(404);
    let words = unknown["error"]["message"].as_str().unwrap();
    assert!(
        words.contains("embedder, classifier, ranker, tagger"),
        "{words}"
    );
}

/// An option would be passed over in silence.
#[test]
fn options_are_those_of_the_command_line() {
    let server = Running::of(&MODELS);
    let ask = |path: &str, options: serde_json::Value| {
        let mut body = json!({"text": "turn on the lights in London"});
        body.as_object_mut()
            .unwrap()
            .extend(options.as_object().unwrap().clone());
        server.post(path, &body)
    };
    let cut = ask("/embed", json!({"dimensions": 3})).json(200);
    let cut = floats(&cut["results"][0]["embedding"]);
    let length: f32 = cut.iter().map(|value| value * value).sum();
    assert_eq!(cut.len(), 3);
    assert!((length - 1.0).abs() < 1e-5, "{length}");
    let all = ask("/classify", json!({"top_k": 2})).json(200);
    assert_eq!(all["results"][0]["labels"].as_array().unwrap().len(), 2);
    let raw = ask("/classify", json!({"top_k": 9, "raw_scores": true})).json(200);
    let sum: f32 = floats(&raw["results"][0]["scores"]).iter().sum();
    assert!((sum - 1.0).abs() > 1e-3, "{sum}");
    let tokens = ask("/tag", json!({"aggregation": "none"})).json(200);
    let words = ask("/tag", json!({"aggregation": "first"})).json(200);
    assert_ne!(tokens["results"], words["results"]);
    let long = ask("/embed", json!({"max_tokens": 4, "on_long": "error"}));
    assert_eq!(long.code(413), "too_large");
    let short = ask("/embed", json!({"max_tokens": 4})).json(200);
    assert_eq!(short["usage"]["tokens"], 4);
    for (path, options) in [
        ("/embed", json!({"top_k": 1})),
        ("/classify", json!({"dimensions": 1})),
        ("/classify", json!({"top_k": 0})),
        ("/embed", json!({"dimensions": 0})),
        ("/embed", json!({"dimensions": 100_000})),
    ] {
        assert_eq!(
            ask(path, options.clone()).code(400),
            "bad_option",
            "{options}"
        );
    }
}

/// A person who looks at what a model reads would be shown something else.
#[test]
fn tokens_are_those_of_the_network() {
    let server = Running::of(&MODELS);
    let golden = Golden::load("bert-embed");
    let case = golden.case("short");
    let got = server
        .post(
            "/tokenize",
            &json!({"model": "embedder", "text": case.text}),
        )
        .json(200);
    let tokens = &got["results"][0];
    assert_eq!(tokens["ids"], json!(case.ids));
    assert_eq!(tokens["tokens"][0], "[CLS]");
    assert_eq!(tokens["count"], case.ids.len());
}

/// One bad text among many would cost the others their answers.
#[test]
fn a_text_that_fails_costs_no_other() {
    let server = Running::of(&[("m", "bert-embed")]);
    let got = server
        .post(
            "/embed",
            &json!({"texts": ["good", ["a", "pair"], "good too"]}),
        )
        .json(200);
    assert_eq!(got["results"][1]["error"]["code"], "wrong_input");
    assert_eq!(
        got["results"][0]["embedding"].as_array().unwrap().len(),
        got["results"][2]["embedding"].as_array().unwrap().len()
    );
    assert_eq!(
        server
            .post("/embed", &json!({"text": ["a", "pair"]}))
            .code(422),
        "bad_text"
    );
}

/// A slow request could not be told from a slow network, or found in the logs of the client.
#[test]
fn times_ids_and_traces_stand_in_the_headers() {
    let server = Running::of(&[("m", "bert-embed")]);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("x-request-id", "mine"),
        ("traceparent", trace),
        ("tracestate", "a=b"),
    ];
    let got = server.ask("POST", "/embed", &headers, br#"{"text": "a"}"#);
    assert_eq!(got.headers["x-request-id"], "mine");
    assert_eq!(got.headers["traceparent"], trace);
    assert_eq!(got.headers["tracestate"], "a=b");
    assert_eq!(got.headers["x-model-load"], "1");
    let micros = |name: &str| got.headers[name].parse::<u64>().unwrap();
    let parts =
        micros("x-prepare-time-us") + micros("x-queue-time-us") + micros("x-compute-time-us");
    assert!(parts <= micros("x-total-time-us") + 3, "{:?}", got.headers);
    let others: Vec<String> = (0..2)
        .map(|_| server.get("/health").headers["x-request-id"].clone())
        .collect();
    assert_ne!(others[0], others[1]);
}

/// Queries and passages of one model, which want different words before them, would need two servers.
#[test]
fn prompts_are_chosen_by_request() {
    let server = Running::of(&[("m", "bert-embed")]);
    let ask = |body: Value| {
        let got = server.post("/embed", &body).json(200);
        got["results"][0]["embedding"].clone()
    };
    let plain = ask(json!({"text": "query: turn on the lights"}));
    assert_eq!(
        ask(json!({"text": "turn on the lights", "prompt": "query: "})),
        plain
    );
    assert_ne!(ask(json!({"text": "turn on the lights"})), plain);
    assert_eq!(
        ask(json!({"text": "query: turn on the lights", "prompt": ""})),
        plain
    );
    let tokens =
        |body: Value| server.post("/tokenize", &body).json(200)["results"][0]["ids"].clone();
    assert_eq!(
        tokens(json!({"text": "lights", "prompt": "query: "})),
        tokens(json!({"text": "query: lights"}))
    );
    let lines = server.ask(
        "POST",
        "/predict/stream?prompt=query:%20",
        &[],
        b"\"turn on the lights\"",
    );
    let line: Value = serde_json::from_slice(&lines.body).unwrap();
    assert_eq!(line["embedding"], plain);
    for (body, words) in [
        (
            json!({"text": "a", "prompt_name": "nobody's"}),
            "no such prompt",
        ),
        (
            json!({"text": "a", "prompt_name": "a", "prompt": "b"}),
            "not both",
        ),
    ] {
        let got = server.post("/embed", &body);
        assert!(got.text().contains(words), "{}", got.text());
        assert_eq!(got.code(400), "bad_option");
    }
}
