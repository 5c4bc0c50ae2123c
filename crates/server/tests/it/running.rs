//! Loading, reloading, stopping, and the numbers that explain it.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use axum::body::Body;
use axum::http::Request;
use batchwright_server::{ModelSpec, Server, ServerError, ServerSettings, Stopped, router};
use engine::{Model, ServiceSettings};
use serde_json::json;
use testing::golden::Golden;
use tower_service::Service;

use crate::client::{Running, read, settings, spec};

/// Requests would fail, or be answered by a mixture, while a model is loaded again.
#[test]
fn a_reload_under_load_fails_no_request() {
    let server = Running::of(&[("m", "bert-embed")]);
    let body = json!({"texts": ["turn on the lights", "what is my balance"], "cache": false});
    let expected = server.post("/embed", &body).json(200)["results"].clone();
    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ended.load(SeqCst) {
                    let got = server.post("/embed", &body);
                    assert_eq!(got.json(200)["results"], expected);
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        for load in 2..7 {
            let before = asked.load(SeqCst);
            let got = server.post("/models/m/load", &json!({})).json(200);
            assert_eq!(got["models"][0]["load"], load);
            server.until("/health", |_| asked.load(SeqCst) > before);
        }
        ended.store(true, SeqCst);
    });
    let got = server.post("/embed", &body);
    assert_eq!(got.headers["x-model-load"], "6");
}

/// A damaged upload would take the service down.
#[test]
fn a_failed_load_leaves_the_old_model() {
    let copy = Golden::load("bert-embed").copy();
    let spec = ModelSpec {
        builder: Model::builder(copy.path().to_str().unwrap()).threads(1),
        ..spec("m", "bert-embed")
    };
    let server = Running::with(settings(), vec![spec]);
    let body = json!({"text": "turn on the lights"});
    let before = server.post("/embed", &body).json(200);
    let config = copy.path().join("config.json");
    let good = std::fs::read(&config).unwrap();
    std::fs::write(&config, "{").unwrap();
    assert_eq!(
        server.post("/models/m/load", &json!({})).code(422),
        "load_failed"
    );
    assert_eq!(server.post("/embed", &body).json(200), before);
    let model = server.get("/models/m").json(200);
    assert_eq!(model["versions"][0]["state"], "failed");
    assert_eq!(server.get("/health/ready").status, 200);
    std::fs::write(&config, good).unwrap();
    server.post("/models/m/load", &json!({})).json(200);
    assert_eq!(
        server.get("/models/m").json(200)["versions"][0]["state"],
        "ready"
    );
}

/// Memory would stay taken, or requests be answered by a model that is gone.
#[test]
fn an_unloaded_model_is_gone_and_can_come_back() {
    let models = [
        ("a", "bert-embed"),
        ("b", "bert-classify"),
        ("c", "mpnet-embed"),
    ];
    let server = Running::of(&models);
    server.post("/models/a/unload", &json!({})).json(200);
    // Not the vectors of `c`: whoever names no model means the first.
    let unnamed = server.post("/embed", &json!({"text": "x"}));
    assert_eq!(unnamed.code(503), "unavailable");
    assert_eq!(
        server
            .post("/embed", &json!({"text": "x", "model": "a"}))
            .code(503),
        "unavailable"
    );
    server.post("/classify", &json!({"text": "x"})).json(200);
    assert_eq!(
        server.get("/models").json(200)["models"][0]["state"],
        "unloaded"
    );
    server.post("/models/a/load", &json!({})).json(200);
    server
        .post("/embed", &json!({"text": "x", "model": "a"}))
        .json(200);
    assert_eq!(
        server.post("/models/none/load", &json!({})).code(404),
        "unknown_model"
    );
}

/// Two versions of a model could not be compared side by side.
#[test]
fn versions_are_served_side_by_side() {
    let second = ModelSpec {
        version: "2".to_owned(),
        builder: crate::client::builder("bert-embed").dimensions(5),
        ..spec("m", "bert-embed")
    };
    let server = Running::with(settings(), vec![spec("m", "bert-embed"), second]);
    let width = |version: serde_json::Value| {
        let got = server
            .post(
                "/embed",
                &json!({"text": "a", "model": "m", "version": version}),
            )
            .json(200);
        (
            got["version"].clone(),
            got["results"][0]["embedding"].as_array().unwrap().len(),
        )
    };
    assert_eq!(width(json!(null)), (json!("2"), 5));
    assert_eq!(width(json!("2")), (json!("2"), 5));
    assert_eq!(width(json!("1")).0, "1");
    assert_ne!(width(json!("1")).1, 5);
}

/// Batching could not be tuned without a restart.
#[test]
fn settings_change_while_it_runs() {
    let server = Running::of(&[("m", "bert-embed")]);
    let change = |body: serde_json::Value| {
        server.ask("PATCH", "/models/m", &[], body.to_string().as_bytes())
    };
    let now = change(json!({"max_wait_us": 100, "max_texts": 2})).json(200);
    assert_eq!(
        (&now["max_wait_us"], &now["max_texts"]),
        (&json!(100), &json!(2))
    );
    assert_eq!(
        server
            .post("/embed", &json!({"texts": ["a", "b", "c"]}))
            .code(413),
        "too_large"
    );
    let zero = change(json!({"max_texts": 0}));
    assert!(zero.text().contains("`max_texts` is 0"), "{}", zero.text());
    assert_eq!(zero.code(400), "bad_option");
    let long = change(json!({"max_wait_us": 4_000_000_000_u64}));
    assert!(
        long.text().contains("`max_wait_us` is 4000 s"),
        "{}",
        long.text()
    );
    assert_eq!(change(json!({"max_text": 1})).code(400), "bad_request");
    server
        .post("/embed", &json!({"texts": ["a", "b"]}))
        .json(200);
    // They are the model's place's, not the load's.
    server.post("/models/m/load", &json!({})).json(200);
    let settings = &server.get("/models/m").json(200)["versions"][0]["settings"];
    assert_eq!(
        (&settings["max_wait_us"], &settings["max_texts"]),
        (&json!(100), &json!(2))
    );
}

/// Nobody could take a change back without knowing what the server was started with; or null, which the document allows,
/// would do nothing in silence.
#[test]
fn null_takes_a_changed_setting_back() {
    let mut model = spec("m", "bert-embed");
    model.settings.limits.texts_per_request = 5;
    model.settings.default_deadline = Some(std::time::Duration::from_secs(90));
    let server = Running::with(settings(), vec![model]);
    let change = |body: serde_json::Value| {
        let got = server.ask("PATCH", "/models/m", &[], body.to_string().as_bytes());
        got.json(200)
    };
    let began = change(json!({}));
    assert!(began.get("batch_size").is_none());
    let changed = change(json!({
        "batch_size": 1, "batch_tokens": 64, "max_texts": 2, "max_wait_us": 7, "default_deadline_ms": 0,
    }));
    assert_eq!(
        (&changed["batch_size"], &changed["max_texts"]),
        (&json!(1), &json!(2))
    );
    assert!(changed.get("default_deadline_ms").is_none());
    // What is left out stays.
    let halfway = change(json!({"batch_size": null, "max_texts": null}));
    assert!(halfway.get("batch_size").is_none());
    assert_eq!(
        (&halfway["max_texts"], &halfway["batch_tokens"]),
        (&json!(5), &json!(64))
    );
    let body = json!({"batch_tokens": null, "max_wait_us": null, "default_deadline_ms": null});
    assert_eq!(change(body), began);
}

/// Accepted requests would be lost at every deployment.
#[test]
fn stopping_answers_what_was_accepted() {
    let mut server = Running::of(&[("m", "bert-embed")]);
    // Connections that are open already: one idle, one in the middle of a request.
    let mut idle = server.connect();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut idle_reader = BufReader::new(idle.try_clone().unwrap());
    assert_eq!(read(&mut idle_reader).unwrap().status, 200);
    let mut half = server.connect();
    let body = br#"{"text": "turn on the lights"}"#;
    let head = format!(
        "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    half.write_all(head.as_bytes()).unwrap();
    half.write_all(&body[..5]).unwrap();
    server.until("/metrics", |got| {
        got.text().contains("batchwright_body_bytes 5")
    });
    server.tell();
    // The idle one may still ask, is answered, and told that this was the last.
    idle.write_all(b"GET /health/ready HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    if let Some(got) = read(&mut idle_reader) {
        assert!(
            got.status == 200 || got.headers["connection"] == "close",
            "{got:?}"
        );
    }
    half.write_all(&body[5..]).unwrap();
    let got = read(&mut BufReader::new(half)).unwrap();
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(server.stop().unwrap(), Stopped::Clean);
}

/// A server without its model would look well.
#[test]
fn a_model_that_cannot_be_loaded_ends_the_start() {
    let specs = vec![ModelSpec {
        builder: Model::builder("/nowhere/at/all").offline(),
        settings: ServiceSettings::default(),
        ..spec("m", "bert-embed")
    }];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(async {
        let server = batchwright_server::Server::bind(settings(), specs)
            .await
            .unwrap();
        server.run(std::future::pending()).await
    });
    assert!(
        matches!(ended, Err(ServerError::Model(ref why)) if why.contains("nowhere")),
        "{ended:?}"
    );
}

/// Two models of one name, or an unreachable name, would only be noticed by their users.
#[test]
fn names_that_cannot_be_served_are_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for specs in [
        vec![spec("m", "bert-embed"), spec("m", "bert-tag")],
        vec![spec("a/b", "bert-embed")],
        vec![spec("", "bert-embed")],
        vec![],
    ] {
        let bound = runtime.block_on(batchwright_server::Server::bind(settings(), specs));
        assert!(matches!(bound, Err(ServerError::Settings(_))));
    }
}

/// Numbers that count twice, or not at all, explain nothing.
#[test]
fn numbers_add_up() {
    let server = Running::of(&[("c", "bert-classify")]);
    for text in ["one", "two", "one"] {
        server.post("/classify", &json!({"text": text})).json(200);
    }
    server.post("/classify", &json!({"text": 1})).json(400);
    server.post("/nowhere", &json!({})).json(404);
    let page = server.get("/metrics").text();
    let sample = |name: &str| {
        let line = page
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in\n{page}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let model = "{model=\"c\",version=\"1\"";
    assert_eq!(
        sample(&format!("batchwright_requests_answered_total{model}}}")),
        3.0
    );
    assert_eq!(
        sample(&format!(
            "batchwright_texts_total{model},how=\"computed\"}}"
        )),
        2.0
    );
    assert_eq!(
        sample(&format!("batchwright_texts_total{model},how=\"cached\"}}")),
        1.0
    );
    assert_eq!(
        sample(&format!(
            "batchwright_total_duration_seconds_count{model}}}"
        )),
        3.0
    );
    assert_eq!(
        sample(&format!("batchwright_confidence_count{model}}}")),
        3.0
    );
    assert_eq!(
        sample("batchwright_http_requests_total{route=\"/classify\",method=\"POST\",code=\"200\"}"),
        3.0
    );
    assert_eq!(
        sample("batchwright_http_requests_total{route=\"/classify\",method=\"POST\",code=\"400\"}"),
        1.0
    );
    assert_eq!(
        sample("batchwright_http_requests_total{route=\"other\",method=\"ANY\",code=\"404\"}"),
        1.0
    );
    let labelled: f64 = page
        .lines()
        .filter(|line| line.starts_with("batchwright_predictions_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(labelled, 3.0);
    // Every sample belongs to a family, and no family stands twice.
    let mut families = std::collections::BTreeSet::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(rest.split(' ').next().unwrap()), "{line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let bare = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end));
            assert!(
                families.contains(name) || bare.is_some_and(|bare| families.contains(bare)),
                "{line}"
            );
        }
    }
    let cleared = server.ask("DELETE", "/cache", &[], b"").json(200);
    assert_eq!(cleared["cleared"][0]["entries"], 2);
    let stats = server.get("/stats").json(200);
    assert_eq!(stats["models"][0]["stats"]["cache"]["entries"], 0);
}

/// A page that fetches from elsewhere would stay empty where there is no elsewhere.
#[test]
fn pages_need_nothing_from_outside() {
    let server = Running::of(&[("m", "bert-embed")]);
    for path in ["/dashboard", "/docs"] {
        let got = server.get(path);
        let page = got.text();
        assert_eq!(got.headers["content-type"], "text/html; charset=utf-8");
        assert!(got.headers["content-security-policy"].contains("default-src 'none'"));
        for outside in ["src=\"", "url(", "@import", "<link"] {
            assert!(!page.contains(outside), "{path}: {outside}");
        }
        assert!(page.len() > 2_000, "{path}");
    }
    assert_eq!(server.get("/openapi.json").json(200)["openapi"], "3.1.0");
}

/// Somebody's file would be gone after the first stop.
#[cfg(unix)]
#[test]
fn a_file_is_no_socket_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "mine").unwrap();
    let settings = ServerSettings {
        sockets: vec![path.clone()],
        ..settings()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bound = runtime.block_on(Server::bind(settings, vec![spec("m", "bert-embed")]));
    assert!(matches!(bound, Err(ServerError::Listen { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

/// A program that has a runtime of one thread would meet a panic, on its first long text.
#[test]
fn a_router_works_on_a_runtime_of_one_thread() {
    let mut model = spec("m", "bert-embed");
    // It is never there, and may be waited for.
    model.builder = model.builder.cache_redis("redis://127.0.0.1:1");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = ServerSettings {
            compress_from: 1,
            ..settings()
        };
        let mut router = router(settings, vec![model]).await.unwrap();
        let long = "turn on the lights ".repeat(2_000);
        let texts: Vec<String> = (0..200).map(|row| format!("light {row}")).collect();
        for (path, body) in [
            ("/predict", json!({"texts": [long, "a"]})),
            ("/embed", json!({"texts": texts})),
            ("/tokenize", json!({"text": long})),
            ("/v1/embeddings", json!({"input": texts})),
        ] {
            let request = Request::post(path)
                .header("host", "test")
                .header("accept-encoding", "gzip")
                .body(Body::from(body.to_string()))
                .unwrap();
            let got = router.call(request).await.unwrap();
            assert_eq!(got.status(), 200, "{path}");
            assert_eq!(got.headers()["content-encoding"], "gzip", "{path}");
        }
        let request = Request::get("/metrics").header("host", "test");
        let got = router.call(request.body(Body::empty()).unwrap()).await;
        assert_eq!(got.unwrap().status(), 200);
    });
}
