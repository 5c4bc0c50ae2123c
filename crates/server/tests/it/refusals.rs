//! Clients that are refused hear why: over either HTTP, whatever they were sending, and wherever they come from.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use batchwright_server::{ServerError, ServerSettings};
use bytes::Bytes;
use serde_json::json;

use crate::client::{Running, builder, read, settings, spec};

fn locked(max_body_bytes: usize) -> Running {
    let settings = ServerSettings {
        api_keys: vec!["key".to_owned()],
        max_body_bytes,
        ..settings()
    };
    Running::with(settings, vec![spec("m", "bert-embed")])
}

/// A client without its key would see a broken connection, and look for the fault in the network.
#[test]
fn a_refused_body_does_not_cost_the_connection() {
    let server = locked(1_000);
    let mut stream = server.connect();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let big = "x".repeat(3 << 20);
    for (key, status) in [("none", 401), ("key", 413), ("none", 401)] {
        let head = format!(
            "POST /embed HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: {}\r\n\r\n",
            big.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(big.as_bytes()).unwrap();
        assert_eq!(read(&mut answers).unwrap().status, status);
    }
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read(&mut answers).unwrap().status, 200);
}

/// curl 7.88 reports a stream that was reset while it was sending, not the answer that came before.
#[test]
fn a_refused_body_is_read_to_its_end_over_http_2() {
    let server = locked(1_000);
    let address = server.address;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        for (key, status) in [("none", 401), ("key", 413)] {
            let request = hyper::Request::post(format!("http://{address}/embed"))
                .header("x-api-key", key)
                .header("content-length", 300_000)
                .body(())
                .unwrap();
            let (answer, mut body) = client.send_request(request, false).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status);
            for part in 0..30 {
                body.reserve_capacity(10_000);
                while body.capacity() < 10_000 {
                    let more = std::future::poll_fn(|context| body.poll_capacity(context)).await;
                    assert!(matches!(more, Some(Ok(_))), "{more:?}");
                }
                body.send_data(Bytes::from(vec![b'x'; 10_000]), part == 29)
                    .unwrap();
            }
            let mut said = answer.into_body();
            while let Some(data) = said.data().await {
                let _ = said.flow_control().release_capacity(data.unwrap().len());
            }
        }
    });
}

/// A server behind a proxy would answer what was meant for another one; a client that is slow would not know why
/// its connection ended.
#[test]
fn broken_heads_are_answered() {
    let server = Running::of(&[("m", "bert-embed")]);
    let ask = |text: &str| {
        let mut stream = server.connect();
        stream.write_all(text.as_bytes()).unwrap();
        read(&mut BufReader::new(stream)).unwrap().status
    };
    assert_eq!(ask("GET /health/live HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(
        ask("GET /health/live HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"),
        400
    );
    assert_eq!(ask("GET /health/live HTTP/1.0\r\n\r\n"), 200);

    let hasty = ServerSettings {
        read_timeout: Duration::from_millis(50),
        ..settings()
    };
    let server = Running::with(hasty, vec![spec("m", "bert-embed")]);
    // The second might become HTTP/2.
    for begun in ["GET /health/live HTTP/1.1\r\nho", "PRI * HTTP"] {
        let mut stream = server.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        let got = read(&mut BufReader::new(stream)).unwrap();
        assert_eq!(got.code(408), "slow_request", "{begun}");
    }
    // Who has asked for nothing is told nothing, and does not keep the connection.
    for begun in ["", "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"] {
        let mut stream = server.connect();
        stream.write_all(begun.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let all = String::from_utf8(all).unwrap();
        assert!(!all.contains("408"), "{all}");
    }
}

/// Any page in a browser on the same machine could unload the models.
#[test]
fn pages_of_other_origins_do_not_change_the_server() {
    let settings = ServerSettings {
        cors_origins: vec!["https://here.example".to_owned()],
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let ask = |headers: &[(&str, &str)]| server.ask("DELETE", "/cache", headers, b"").status;
    assert_eq!(ask(&[]), 200);
    assert_eq!(ask(&[("sec-fetch-site", "same-origin")]), 200);
    assert_eq!(ask(&[("sec-fetch-site", "none")]), 200);
    assert_eq!(ask(&[("origin", "http://test")]), 200);
    let here = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://here.example"),
    ];
    assert_eq!(ask(&here), 200);
    assert_eq!(ask(&[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(ask(&[("sec-fetch-site", "same-site")]), 403);
    assert_eq!(ask(&[("origin", "http://test:81")]), 403);
    assert_eq!(ask(&[("origin", "null")]), 403);
    let page = [
        ("sec-fetch-site", "cross-site"),
        ("content-type", "text/plain"),
    ];
    let unload = server.ask("POST", "/models/m/unload", &page, b"");
    assert_eq!(unload.code(403), "cross_site");
    // What changes nothing is asked for as ever.
    let asked = server.ask("POST", "/embed", &page, br#"{"text": "a"}"#);
    assert_eq!(asked.status, 200);
}

/// A slip would be found out by the first client instead of at the start.
#[test]
fn senseless_settings_are_refused_at_the_start() {
    let start = |settings: ServerSettings, tokens: usize| {
        let mut spec = spec("m", "bert-embed");
        spec.builder = builder("bert-embed").max_tokens(tokens);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = batchwright_server::Server::bind(settings, vec![spec]).await?;
            server.run(async {}).await.map(|_| ())
        })
    };
    let cases = [
        (
            ServerSettings {
                max_body_bytes: 0,
                ..settings()
            },
            "--max-body-bytes is 0",
        ),
        (
            ServerSettings {
                max_body_bytes_in_flight: 10,
                ..settings()
            },
            "--max-body-bytes-in-flight is 10",
        ),
        (
            ServerSettings {
                cors_origins: vec!["here.example".to_owned()],
                ..settings()
            },
            "`here.example` is no origin",
        ),
    ];
    for (settings, words) in cases {
        let error = start(settings, 8).unwrap_err();
        assert!(matches!(error, ServerError::Settings(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut narrow = spec("m", "bert-embed");
    narrow.builder = builder("bert-embed").max_tokens(2);
    let error = runtime.block_on(batchwright_server::router(settings(), vec![narrow]));
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("`max_tokens` is 2; the model's special tokens"),
        "{error}"
    );
}

/// A client could not tell a text that is too long from a request that has too many.
#[test]
fn a_long_text_is_refused_by_its_limit() {
    let server = Running::of(&[("m", "bert-embed")]);
    let body = json!({"texts": ["turn on the lights", "turn on all of the lights"], "max_tokens": 4, "on_long": "error"});
    let got = server.post("/embed", &body).json(413);
    let limit = &got["error"]["limit"];
    assert_eq!(
        (&limit["name"], &limit["most"]),
        (&json!("max_tokens"), &json!(4))
    );
    assert!(limit["value"].as_u64() > Some(4));
    let mixed =
        json!({"texts": ["a", "turn on all of the lights"], "max_tokens": 4, "on_long": "error"});
    let got = server.post("/embed", &mixed).json(200);
    assert_eq!(got["results"][1]["error"]["limit"]["name"], "max_tokens");
}

/// A client would be told to give up where it should come again, or the reverse.
#[test]
fn a_deadline_that_was_over_before_is_no_overload() {
    let server = Running::of(&[("m", "bert-embed")]);
    let headers = [("x-request-deadline-ms", "0")];
    let got = server.ask("POST", "/embed", &headers, br#"{"text": "never computed"}"#);
    assert_eq!(got.code(504), "expired");
}

/// One legal request would take all memory: its query once for each passage.
#[test]
fn a_query_is_not_multiplied_beyond_the_limits() {
    let mut spec = spec("m", "bert-rerank");
    spec.settings.limits.bytes = 1 << 20;
    spec.settings.limits.texts_per_request = 2_000;
    let server = Running::with(settings(), vec![spec]);
    let query = "lights ".repeat(1_000);
    for (passages, name) in [
        (200, "max_bytes_in_flight"),
        (2_001, "max_texts"),
        (500_000, "max_texts"),
    ] {
        let list = vec![""; passages];
        let body = json!({"query": query, "passages": list});
        let got = server.post("/rerank", &body).json(413);
        let message = got["error"]["message"].as_str().unwrap();
        assert_eq!(got["error"]["limit"]["name"], name, "{message}");
        assert!(message.contains("passage"), "{message}");
        let got = server
            .post("/rerank", &json!({"query": query, "texts": list}))
            .json(413);
        let message = got["error"].as_str().unwrap();
        assert!(message.contains("passage"), "{message}");
    }
    let few = json!({"query": "lights", "passages": vec!["on"; 200]});
    server.post("/rerank", &few).json(200);
}

/// A short answer would be written seven hundred thousand times.
#[test]
fn an_output_is_answered_once() {
    let server = Running::of(&[("m", "bert-embed")]);
    let output = json!({"name": "embedding"});
    let ask = |outputs: &[serde_json::Value]| {
        let inputs = json!([{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]);
        server.post(
            "/v2/models/m/infer",
            &json!({"inputs": inputs, "outputs": outputs}),
        )
    };
    ask(std::slice::from_ref(&output)).json(200);
    let twice = ask(&[output.clone(), output]).json(400);
    let words = twice["error"].as_str().unwrap();
    assert!(words.contains("`embedding` stands twice"), "{words}");
}

/// Tokens take many times their text: a few long requests would take all memory.
#[test]
fn tokenising_is_within_the_limits() {
    let settings = ServerSettings {
        max_body_bytes: 20_000,
        max_body_bytes_in_flight: 20_000,
        ..settings()
    };
    let mut spec = spec("m", "bert-embed");
    spec.settings.limits.tokens = 20;
    let server = Running::with(settings, vec![spec]);
    let name = |body: &serde_json::Value| {
        let got = server.post("/tokenize", body).json(413);
        got["error"]["limit"]["name"].as_str().unwrap().to_owned()
    };
    server.post("/tokenize", &json!({"text": "a b"})).json(200);
    let long = json!({"text": "a ".repeat(1_000)});
    assert_eq!(name(&long), "max_body_bytes_in_flight");
    let prompted = json!({"texts": vec!["a"; 20], "prompt": "a ".repeat(50)});
    assert_eq!(name(&prompted), "max_body_bytes_in_flight");
    let many = json!({"texts": vec!["a b"; 20]});
    assert_eq!(name(&many), "max_tokens_in_flight");
    // What was counted is given back.
    server.post("/tokenize", &json!({"text": "a b"})).json(200);
}

/// A client that vanished would keep its connection, and all that it holds, for ever.
#[test]
fn a_peer_of_http_2_that_does_not_answer_is_let_go() {
    let hasty = ServerSettings {
        read_timeout: Duration::from_millis(200),
        ..settings()
    };
    let server = Running::with(hasty, vec![spec("m", "bert-embed")]);
    let mut stream = server.connect();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    // The beginning of every connection, and settings that change nothing.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
}

/// A client that gave the server time would be told that it had given none, and not to come again.
#[test]
fn a_deadline_that_passes_while_the_body_comes_is_overload() {
    let server = Running::of(&[("m", "bert-embed")]);
    let mut stream = server.connect();
    stream
        .write_all(b"POST /embed HTTP/1.1\r\nhost: a\r\nx-request-deadline-ms: 5\r\ncontent-length: 13\r\n\r\n{\"text\"")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(b": \"a\"}").unwrap();
    let got = read(&mut BufReader::new(stream)).unwrap();
    assert_eq!(got.code(429), "deadline");
    assert!(got.headers.contains_key("retry-after"));
}
