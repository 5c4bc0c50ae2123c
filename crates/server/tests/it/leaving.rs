//! Clients that go away, send nothing or read nothing: they hold no place for ever, and are counted once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use batchwright_server::{Benchmarks, ServerSettings};
use serde_json::json;

use crate::client::{Running, settings, spec};

const STREAM: &[u8] =
    b"POST /predict/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// How often requests to a path were counted, by status.
fn counted(server: &Running, path: &str) -> Vec<(u64, u64)> {
    let stats = server.get("/stats").json(200);
    let rows = stats["requests"].as_array().unwrap().iter();
    rows.filter(|row| row["route"] == path)
        .map(|row| {
            (
                row["code"].as_u64().unwrap(),
                row["count"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// Waits until something has been counted.
fn until(server: &Running, path: &str, wanted: &[(u64, u64)]) {
    server.until("/health/live", |_| !counted(server, path).is_empty());
    let all = wanted.iter().map(|(_, count)| count).sum::<u64>();
    server.until("/health/live", |_| {
        let now = counted(server, path);
        now.iter().map(|(_, count)| count).sum::<u64>() >= all
    });
    assert_eq!(counted(server, path), wanted, "{path}");
}

fn head(reader: &mut impl BufRead) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
}

/// Under load it is those who give up that show how bad it is: the counts would tell of the patient alone.
#[test]
fn who_goes_before_the_answer_is_counted_once() {
    let mut slow = spec("m", "bert-embed");
    // Nothing comes that would fill its batch.
    slow.settings.max_wait = Duration::from_secs(3_600);
    let server = Running::with(settings(), vec![slow]);
    let body = r#"{"text": "a", "cache": false}"#;
    let mut client = server.connect();
    write!(
        client,
        "POST /embed HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let waits = |wanted: u64| {
        server.until("/stats", |got| {
            got.json(200)["models"][0]["stats"]["requests_in_flight"] == wanted
        });
    };
    waits(1);
    assert_eq!(counted(&server, "/embed"), []);
    drop(client);
    waits(0);
    until(&server, "/embed", &[(499, 1)]);
    let page = server.get("/metrics").text();
    let line = r#"batchwright_http_requests_total{route="/embed",method="POST",code="499"} 1"#;
    assert!(page.contains(line), "{page}");

    // In the middle of its body; and one that is only wrong, which waits for its answer.
    let mut client = server.connect();
    client
        .write_all(b"POST /classify HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        .unwrap();
    drop(client);
    until(&server, "/classify", &[(499, 1)]);
    let mut client = server.connect();
    client
        .write_all(b"POST /tag HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
        .unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    until(&server, "/tag", &[(400, 1)]);
}

/// A stream that nobody finished would be counted as if it had been answered.
#[test]
fn a_stream_is_counted_by_its_end() {
    let server = Running::of(&[("m", "bert-embed")]);
    server
        .ask("POST", "/predict/stream", &[], b"\"a\"\n")
        .text();
    until(&server, "/predict/stream", &[(200, 1)]);

    let mut client = server.connect();
    client.write_all(STREAM).unwrap();
    client.write_all(b"4\r\n\"a\"\n\r\n2\r\n\"b\r\n").unwrap();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    head(&mut reader);
    let mut answer = String::new();
    reader.read_line(&mut answer).unwrap();
    assert_eq!(counted(&server, "/predict/stream"), [(200, 1)]);
    client.shutdown(Shutdown::Both).unwrap();
    until(&server, "/predict/stream", &[(200, 1), (499, 1)]);
}

fn impatient() -> Running {
    let settings = ServerSettings {
        idle_timeout: Some(Duration::from_millis(200)),
        ..settings()
    };
    Running::with(settings, vec![spec("m", "bert-embed")])
}

/// It would keep its place, and the load of the model that it began with, for as long as it likes.
#[test]
fn a_stream_that_sends_nothing_is_told_and_ended() {
    let server = impatient();
    let mut client = server.connect();
    client.write_all(STREAM).unwrap();
    client.write_all(b"4\r\n\"a\"\n\r\n").unwrap();
    let mut all = String::new();
    let _ = client.read_to_string(&mut all);
    let lines: Vec<&str> = all.lines().filter(|line| line.starts_with('{')).collect();
    assert!(lines[0].starts_with(r#"{"embedding":"#), "{all}");
    assert!(lines[1].contains(r#""code":"slow_request""#), "{all}");
    assert!(lines[1].contains("--idle-timeout-s"), "{all}");
    assert!(!all.ends_with("0\r\n\r\n"), "{all}");
    until(&server, "/predict/stream", &[(408, 1)]);
}

/// The same for one that does not read, whose connection would stay open as well.
#[test]
fn a_stream_that_is_not_read_is_cut_off() {
    let server = impatient();
    let mut client = server.connect();
    client.write_all(STREAM).unwrap();
    client
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let lines = "\"turn on the lights\"\n".repeat(1_000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let mut sent = 0;
    while sent < 1 << 30 && client.write_all(chunk.as_bytes()).is_ok() {
        sent += chunk.len();
    }
    // It is still there.
    server.until("/stats", |got| {
        let stats = got.json(200);
        stats["streams"] == 0 && stats["connections"] == 1
    });
    let ended = counted(&server, "/predict/stream");
    assert!(matches!(ended[..], [(408 | 499, 1)]), "{ended:?}");
    drop(client);
}

/// Its answer would stay in memory for as long as it answers pings, once for each stream of each connection.
#[test]
fn an_answer_over_http_2_that_is_not_read_is_taken_back() {
    let server = impatient();
    let address = server.address;
    let texts: Vec<String> = (0..400).map(|row| format!("turn on light {row}")).collect();
    let asked = [
        ("/embed", json!({"texts": texts}).to_string()),
        ("/predict/stream", "\"turn on the lights\"\n".repeat(400)),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(1_000)
            .initial_connection_window_size(1 << 20)
            .handshake::<_, bytes::Bytes>(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let mut ask = |path: &str, body: &str| {
            let request = hyper::Request::post(format!("http://{address}{path}"));
            let (answer, mut sender) = client
                .send_request(request.body(()).unwrap(), false)
                .unwrap();
            sender.send_data(body.to_owned().into(), true).unwrap();
            answer
        };
        for (path, body) in &asked {
            let mut answer = ask(path, body).await.unwrap().into_body();
            // As much as it has room for, and no end.
            let mut read = 0;
            let ended = loop {
                let patience = Duration::from_secs(120);
                match tokio::time::timeout(patience, answer.data()).await.unwrap() {
                    Some(Ok(data)) => read += data.len(),
                    Some(Err(error)) => break error.reason(),
                    None => break None,
                }
            };
            assert_eq!((read, ended), (1_000, Some(h2::Reason::CANCEL)), "{path}");
        }
        // The others on this connection go on.
        let mut answer = ask("/embed", r#"{"text": "a"}"#).await.unwrap().into_body();
        assert!(
            answer
                .data()
                .await
                .unwrap()
                .unwrap()
                .starts_with(b"{\"model\"")
        );
    });
    server.until("/stats", |got| got.json(200)["streams"] == 0);
    let ended = counted(&server, "/predict/stream");
    assert!(matches!(ended[..], [(408 | 499, 1)]), "{ended:?}");
}

/// A measurement would go on for its minute for nobody, and keep everybody else from measuring.
#[test]
fn a_measurement_ends_when_its_client_is_gone() {
    let settings = ServerSettings {
        benchmarks: Benchmarks::On,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let texts: Vec<String> = (0..3_000)
        .map(|row| format!("turn on light {row} {}", "very ".repeat(20)))
        .collect();
    let budgets: Vec<usize> = (1..=100).collect();
    let long = json!({"texts": texts, "batch_tokens": budgets, "threads": [1], "rounds": 20, "single_queries": 10_000, "seconds": 60});
    let body = long.to_string();
    let begun = std::time::Instant::now();
    let start = || {
        let mut client = server.connect();
        write!(
            client,
            "POST /benchmark HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        client
    };
    let short = json!({"texts": ["a"], "batch_tokens": [1], "threads": [1], "rounds": 1, "single_queries": 1});
    let measured = || server.post("/benchmark", &short);
    let is_refused = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        let is_answered = client.peek(&mut [0]).is_ok();
        client.set_nonblocking(false).unwrap();
        is_answered
    };
    let mut client = start();
    while measured().status != 409 {
        assert!(begun.elapsed() < Duration::from_secs(59));
        // A short one was being measured when it came.
        if is_refused(&client) {
            client = start();
        }
    }
    drop(client);
    server.until("/health/live", |_| measured().status == 200);
    assert!(begun.elapsed() < Duration::from_secs(59));
}

/// A peer that is gone without a word would hold its connection until the server ends.
#[cfg(target_os = "linux")]
#[test]
fn the_system_asks_whether_peers_are_there() {
    let server = Running::of(&[("m", "bert-embed")]);
    let client = server.connect();
    let port = |stream: &TcpStream| stream.local_addr().unwrap().port();
    let (ours, theirs) = (format!(":{:04X} ", server.address.port()), port(&client));
    let theirs = format!(":{theirs:04X} ");
    server.until("/health/live", |_| {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().filter_map(|row| {
            let (local, rest) = row.trim_start().split_once(": ")?.1.split_at(14);
            (local.ends_with(&ours) && rest[..14].ends_with(&theirs)).then_some(row)
        });
        // Its timer is that of keep-alive.
        rows.any(|row| row.contains(" 02:"))
    });
}
