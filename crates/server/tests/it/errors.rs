//! What is wrong with a request is said, with a 4xx, and harms nothing.

use std::io::{BufReader, Write};
use std::time::Duration;

use batchwright_server::{Control, ServerSettings};
use serde_json::json;

use crate::client::{Running, read, settings, spec};

/// A client's mistake would be a 500, or an answer to something else than was asked.
#[test]
fn bad_bodies_are_refused_with_words() {
    let server = Running::of(&[("m", "bert-embed"), ("c", "bert-classify")]);
    let deep = "[".repeat(200_000);
    let cases: &[(&str, &[u8], u16, &str)] = &[
        ("/embed", b"", 400, "empty"),
        // Another server's words, which has nothing that tags.
        (
            "/tag",
            b"{\"inputs\": \"a\"}",
            400,
            "unknown field `inputs`",
        ),
        ("/embed", b"{", 400, "ends too early"),
        ("/embed", b"null", 400, "null"),
        ("/embed", b"[]", 400, "the body is a list"),
        (
            "/v1/embeddings",
            b" [\"a\", \"m\"]",
            400,
            "the body is a list",
        ),
        ("/embed", b"{}", 400, "there is no text"),
        ("/embed", b"{\"text\": 1}", 400, "a text must be a string"),
        ("/embed", b"{\"text\": \"\xff\"}", 400, "body"),
        ("/embed", b"{\"text\": \"\\ud800\"}", 400, "body"),
        ("/embed", b"{\"texts\": []}", 400, "no text in the list"),
        ("/embed", b" 1", 400, "the body is a number"),
        ("/rerank", b"{\"query\": \"a\"}", 400, "`query` comes alone"),
        (
            "/rerank",
            b"{\"passages\": []}",
            400,
            "`passages` come alone",
        ),
        (
            "/embed?model=c",
            b"{\"text\": \"a\"}",
            400,
            "nothing from its query",
        ),
        (
            "/predict/stream?top_k=x",
            b"",
            400,
            "`top_k`: it must be a whole number",
        ),
        ("/predict/stream?topk=1", b"", 400, "unknown field `topk`"),
        (
            "/embed",
            b"{\"text\": \"a\", \"texts\": [\"b\"]}",
            400,
            "not several",
        ),
        (
            "/embed",
            b"{\"text\": \"a\", \"tokens\": 3}",
            400,
            "unknown field `tokens`",
        ),
        (
            "/embed",
            b"{\"text\": \"a\", \"top_k\": -1}",
            400,
            "`top_k` is -1; it must be a whole number",
        ),
        (
            "/embed",
            b"{\"text\": \"a\", \"max_tokens\": 1}",
            422,
            "too low",
        ),
        (
            "/embed",
            b"{\"text\": \"a\", \"version\": \"9\"}",
            404,
            "no model has",
        ),
        ("/embed", deep.as_bytes(), 400, "the body is a list"),
        (
            "/classify",
            b"{\"text\": \"a\", \"threshold\": 1e999}",
            400,
            "number out of range",
        ),
        ("/embed", b"{\"inputs\": 1}", 400, "`inputs` must be"),
        // A list is no object, whatever its values are.
        (
            "/similarity",
            b"{\"inputs\": [\"a\", [\"b\"]]}",
            400,
            "`inputs` is a list; it must be an object",
        ),
        (
            "/v2/models/m/infer",
            b"{\"inputs\": [[\"text\", [1], \"BYTES\", {}, [\"a\"]]]}",
            400,
            "is a list; it must be an object",
        ),
        (
            "/v2/models/m/infer",
            b"{\"inputs\": [{\"name\": \"text\", \"shape\": [1], \"datatype\": \"BYTES\", \"data\": [\"a\"]}], \"parameters\": []}",
            400,
            "`parameters` is a list; it must be an object",
        ),
        ("/embed", b"{\"inputs\": []}", 400, "cannot be empty"),
        ("/v1/embeddings", b"{\"input\": [1, 2]}", 400, "token ids"),
        ("/v1/embeddings", b"{}", 400, "lacks `input`"),
        (
            "/v1/embeddings",
            b"{\"input\": \"a\", \"model\": \"gpt\"}",
            404,
            "m, c",
        ),
        (
            "/v2/models/m/infer",
            b"{\"inputs\": []}",
            400,
            "`text` is missing",
        ),
        (
            "/v2/models/none/infer",
            b"{\"inputs\": []}",
            404,
            "no model",
        ),
        ("/predict/stream?model=none", b"", 404, "no model"),
        ("/nothing", b"", 404, "/docs"),
        ("/health", b"", 405, "for GET"),
    ];
    for &(path, body, status, words) in cases {
        let got = server.ask("POST", path, &[], body);
        let text = got.text();
        assert_eq!(got.status, status, "{path} {text}");
        assert!(text.contains(words), "{path}: no {words:?} in {text}");
        assert_eq!(got.headers["content-type"], "application/json");
    }
    for (name, value) in [
        ("x-request-deadline-ms", "soon"),
        ("x-request-priority", "urgent"),
    ] {
        let got = server.ask("POST", "/embed", &[(name, value)], br#"{"text": "a"}"#);
        assert_eq!(got.code(400), "bad_request", "{name}");
    }
    // It still works.
    server.post("/embed", &json!({"text": "a"})).json(200);
}

/// One client could fill the memory.
#[test]
fn what_is_too_large_is_refused_by_its_limit() {
    let mut spec = spec("m", "bert-embed");
    spec.settings.limits.texts_per_request = 3;
    let settings = ServerSettings {
        max_body_bytes: 1_000,
        ..settings()
    };
    let server = Running::with(settings, vec![spec]);
    let got = server
        .post("/embed", &json!({"texts": ["a", "b", "c", "d"]}))
        .json(413);
    assert_eq!(
        got["error"]["limit"],
        json!({"name": "max_texts", "value": 4, "most": 3})
    );
    let got = server
        .post("/embed", &json!({"text": "a".repeat(2_000)}))
        .json(413);
    assert_eq!(got["error"]["limit"]["name"], "max_body_bytes");
    // Without a length the limit is met on the way.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /embed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    for _ in 0..20 {
        let _ = stream.write_all(format!("64\r\n{}\r\n", "a".repeat(100)).as_bytes());
    }
    assert_eq!(read(&mut BufReader::new(stream)).unwrap().status, 413);
    let tei = server
        .post("/embed", &json!({"inputs": ["a", "b", "c", "d"]}))
        .json(413);
    assert_eq!(tei["error_type"], "Validation");
}

/// Overload would be a crash, or an unbounded queue, or a refusal without a hint.
#[test]
fn what_is_too_much_at_once_is_told_when_to_come_again() {
    let settings = ServerSettings {
        max_body_bytes: 300,
        max_body_bytes_in_flight: 300,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    // One client keeps the room for bodies, for it never sends the rest.
    let mut slow = server.connect();
    let half = format!(
        "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: 280\r\n\r\n{}",
        "x".repeat(270)
    );
    slow.write_all(half.as_bytes()).unwrap();
    server.until("/metrics", |got| {
        got.text().contains("batchwright_body_bytes 270")
    });
    let got = server.post(
        "/embed",
        &json!({"text": "turn on the lights, all of them"}),
    );
    assert_eq!(got.headers["retry-after"], "1");
    let got = got.json(429);
    assert_eq!(
        (&got["error"]["code"], &got["error"]["limit"]["name"]),
        (&json!("overloaded"), &json!("max_body_bytes_in_flight"))
    );
    let openai = server
        .post(
            "/v1/embeddings",
            &json!({"input": "turn on the lights, all"}),
        )
        .json(429);
    assert_eq!(openai["error"]["type"], "rate_limit_error");
    drop(slow);
    server.until("/metrics", |got| {
        got.text().contains("batchwright_body_bytes 0")
    });
    server
        .post("/embed", &json!({"text": "turn on the lights"}))
        .json(200);
}

/// A client that never sends its request would hold a connection for ever.
#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let settings = ServerSettings {
        read_timeout: Duration::from_millis(50),
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let mut slow = server.connect();
    slow.write_all(b"POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n{")
        .unwrap();
    let got = read(&mut BufReader::new(slow)).unwrap();
    assert_eq!(got.code(408), "slow_request");
}

/// The server would be open to whoever finds it.
#[test]
fn keys_open_what_they_are_for() {
    let settings = ServerSettings {
        api_keys: vec!["user".to_owned()],
        admin_keys: vec!["admin".to_owned()],
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let with = |method, path, key: &str| {
        let bearer = format!("Bearer {key}");
        server
            .ask(
                method,
                path,
                &[("authorization", &bearer)],
                br#"{"text": "a"}"#,
            )
            .status
    };
    assert_eq!(
        server.post("/embed", &json!({"text": "a"})).code(401),
        "unauthorized"
    );
    assert_eq!(with("POST", "/embed", "use"), 401);
    assert_eq!(with("POST", "/embed", "user"), 200);
    assert_eq!(with("POST", "/embed", "admin"), 200);
    assert_eq!(with("DELETE", "/cache", "user"), 401);
    assert_eq!(with("DELETE", "/cache", "admin"), 200);
    let other = server.ask(
        "POST",
        "/embed",
        &[("x-api-key", "user")],
        br#"{"text": "a"}"#,
    );
    assert_eq!(other.status, 200);
    assert_eq!(server.get("/health/live").status, 200);
    assert_eq!(
        server.get("/v1/models").json(401)["error"]["type"],
        "authentication_error"
    );
}

/// A server that must not be changed could be emptied by anybody.
#[test]
fn control_can_be_switched_off() {
    let settings = ServerSettings {
        control: Control::Off,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    for (method, path) in [
        ("POST", "/models/m/unload"),
        ("DELETE", "/cache"),
        ("PATCH", "/models/m"),
        ("POST", "/v2/repository/models/m/unload"),
    ] {
        assert_eq!(server.ask(method, path, &[], b"{}").status, 403, "{path}");
    }
    server.post("/embed", &json!({"text": "a"})).json(200);
}

/// Pages of other sites could not call the server although they should, or could although they should not.
#[test]
fn pages_of_named_origins_may_call() {
    let settings = ServerSettings {
        cors_origins: vec!["https://here.example".to_owned()],
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let allowed = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
        ];
        server
            .ask("OPTIONS", "/embed", &headers, b"")
            .headers
            .get("access-control-allow-origin")
            .cloned()
    };
    assert_eq!(
        allowed("https://here.example").as_deref(),
        Some("https://here.example")
    );
    assert_eq!(allowed("https://there.example"), None);
}
