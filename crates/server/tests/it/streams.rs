//! Streams: JSON Lines both ways.

use std::io::{BufRead, BufReader, Read, Write};

use std::net::TcpStream;
use std::time::Duration;

use batchwright_server::ServerSettings;
use serde_json::{Value, json};

use crate::client::{Running, bits, builder, floats, settings, spec};

/// A stream that is sent in parts, and answered in lines.
struct Open {
    to: TcpStream,
    from: BufReader<TcpStream>,
}

impl Open {
    fn on(server: &Running) -> Self {
        let mut to = server.connect();
        to.write_all(
            b"POST /predict/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
        let from = BufReader::new(to.try_clone().unwrap());
        Self { to, from }
    }

    fn send(&mut self, text: &str) {
        write!(self.to, "{:x}\r\n{text}\r\n", text.len()).unwrap();
    }

    /// The next line that is an answer: neither the head nor the length of a chunk.
    fn answer(&mut self) -> Value {
        let mut line = String::new();
        while !line.starts_with('{') {
            line.clear();
            assert!(
                self.from.read_line(&mut line).unwrap() > 0,
                "the stream has ended"
            );
        }
        serde_json::from_str(&line).unwrap()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Answers would stand beside other rows than their own.
#[test]
fn lines_come_back_in_their_order_and_bad_ones_cost_no_other() {
    let server = Running::of(&[("m", "bert-embed")]);
    let texts: Vec<String> = (0..500)
        .map(|row| format!("turn {} lights on", "very ".repeat(row % 7)))
        .collect();
    let mut body = String::new();
    for (row, text) in texts.iter().enumerate() {
        match row {
            7 => body.push_str("{\"text\": 5}\n"),
            8 => body.push('\n'),
            _ => {}
        }
        body.push_str(&json!({"id": row, "text": text}).to_string());
        body.push_str(if row % 2 == 0 { "\n" } else { "\r\n" });
    }
    body.push_str("\"no object, and no end of line\"");
    let got = server.ask("POST", "/predict/stream?dimensions=4", &[], body.as_bytes());
    assert_eq!(
        (got.status, got.headers["content-type"].as_str()),
        (200, "application/x-ndjson")
    );
    let answers = lines(&got.text());
    assert_eq!(answers.len(), 502);
    let words = answers[7]["error"]["message"].as_str().unwrap();
    assert!(words.contains("line 8"), "{words}");
    let good: Vec<&Value> = answers
        .iter()
        .filter(|answer| answer["id"].is_number())
        .collect();
    assert!(
        good.iter()
            .enumerate()
            .all(|(row, answer)| answer["id"] == row)
    );
    let model = builder("bert-embed").load().unwrap();
    let whole = server.ask("POST", "/predict/stream", &[], body.as_bytes());
    let whole = lines(&whole.text());
    for row in [0, 6, 499] {
        let vector = model.embed([texts[row].as_str()]).unwrap().remove(0);
        let answer = whole.iter().find(|answer| answer["id"] == row).unwrap();
        assert_eq!(bits(&floats(&answer["embedding"])), bits(&vector));
    }
}

/// A client that waits for an answer before it sends more would wait for ever.
#[test]
fn answers_come_before_the_stream_has_ended() {
    let server = Running::of(&[("m", "bert-embed")]);
    let mut stream = server.connect();
    stream
        .write_all(
            b"POST /predict/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        answers.read_line(&mut line).unwrap();
    }
    for round in 0..3 {
        stream.write_all(b"4\r\n\"a\"\n\r\n").unwrap();
        let mut chunk = String::new();
        answers.read_line(&mut chunk).unwrap();
        let length = usize::from_str_radix(chunk.trim_end(), 16).unwrap();
        let mut body = vec![0; length + 2];
        answers.read_exact(&mut body).unwrap();
        assert!(body.starts_with(b"{\"embedding\":["), "{round}");
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    line.clear();
    answers.read_line(&mut line).unwrap();
    assert_eq!(line, "0\r\n");
}

/// A client that sends and does not read would fill the server's memory.
#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let server = Running::of(&[("m", "bert-embed")]);
    let mut stream = server.connect();
    stream
        .write_all(
            b"POST /predict/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .unwrap();
    stream
        .set_write_timeout(Some(std::time::Duration::from_millis(500)))
        .unwrap();
    let lines = "\"turn on the lights\"\n".repeat(1_000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    // As much as sockets and the server's own window hold, and no more: far less than this.
    let mut sent = 0_usize;
    while sent < 1 << 30 && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 1 << 28, "{sent}");
    // Others are answered meanwhile, and the one that goes away is forgotten.
    server.post("/embed", &json!({"text": "a"})).json(200);
    drop(stream);
    server.until("/stats", |got| got.json(200)["streams"] == 0);
}

/// Somebody would take a part of the answers for all of them.
#[test]
fn a_broken_stream_does_not_end_as_if_it_were_whole() {
    let server = Running::of(&[("m", "bert-embed")]);
    let mut stream = server.connect();
    stream.write_all(b"POST /predict/stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\n\"a\"\n\r\nzz\r\n").unwrap();
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(
        !all.ends_with(b"0\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&all)
    );
}

/// Limits that keep a server small would break every stream, or hold it for ever.
#[test]
fn streams_fit_into_whatever_the_limits_admit() {
    let long = "turn on all of the lights ".repeat(4);
    let mut body = String::new();
    for row in 0..200 {
        let text = if row == 100 {
            &long
        } else {
            "turn on the lights"
        };
        body.push_str(&json!({"id": row, "text": format!("{text} {row}")}).to_string());
        body.push('\n');
    }
    type Limit = fn(&mut engine::ServiceSettings);
    let limits: [(&str, Limit); 6] = [
        ("max_tokens_in_flight", |settings| {
            settings.limits.tokens = 20
        }),
        ("max_queue_tokens", |settings| settings.queue.tokens = 20),
        ("max_bytes_in_flight", |settings| {
            settings.limits.bytes = 520
        }),
        ("max_queue_bytes", |settings| settings.queue.bytes = 80),
        ("", |settings| settings.queue.entries = 1),
        ("", |settings| settings.limits.requests = 1),
    ];
    for (name, limit) in limits {
        let mut spec = spec("m", "bert-embed");
        limit(&mut spec.settings);
        let server = Running::with(settings(), vec![spec]);
        let got = server.ask("POST", "/predict/stream?cache=false", &[], body.as_bytes());
        let answers = lines(&got.text());
        assert_eq!(answers.len(), 200, "{name}");
        for (row, answer) in answers.iter().enumerate() {
            assert_eq!(answer["id"], row);
            if row == 100 && !name.is_empty() {
                assert_eq!(answer["error"]["code"], "too_large", "{name} {answer}");
                assert_eq!(answer["error"]["limit"]["name"], name, "{answer}");
            } else {
                assert!(answer["embedding"].is_array(), "{name} {answer}");
            }
        }
    }
}

/// Lines of a job would be lost to a default that is for those who wait.
#[test]
fn streams_have_no_deadline() {
    let mut spec = spec("m", "bert-embed");
    spec.settings.default_deadline = Some(std::time::Duration::from_nanos(1));
    let server = Running::with(settings(), vec![spec]);
    let got = server.post("/embed", &json!({"text": "never computed"}));
    assert_ne!(got.status, 200);
    let body = "\"turn on the lights\"\n".repeat(100);
    let got = server.ask("POST", "/predict/stream?cache=false", &[], body.as_bytes());
    let answers = lines(&got.text());
    assert_eq!(answers.len(), 100);
    assert!(answers.iter().all(|answer| answer["embedding"].is_array()));
}

/// One line without an end would cost all others their answers.
#[test]
fn a_line_that_is_too_long_costs_no_other() {
    let settings = ServerSettings {
        max_body_bytes: 1_000,
        max_body_bytes_in_flight: 2_000,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let long = "x".repeat(500_000);
    let whole = format!(
        "\"a\"\n\"{long}\"\n\"b\"\n\"{}\"\n\"{long}\"",
        "y".repeat(900)
    );
    let got = server.ask("POST", "/predict/stream", &[], whole.as_bytes());
    let answers = lines(&got.text());
    assert_eq!(answers.len(), 5);
    for (row, answer) in answers.iter().enumerate() {
        if row == 1 || row == 4 {
            let limit = &answer["error"]["limit"];
            assert_eq!(answer["error"]["code"], "too_large");
            assert_eq!(
                (&limit["name"], &limit["most"]),
                (&json!("max_body_bytes"), &json!(1_000))
            );
            assert!(limit["value"].as_u64().unwrap() > 500_000, "{limit}");
        } else {
            assert!(answer["embedding"].is_array(), "{row} {answer}");
        }
    }
}

/// What clients begin and do not end would take memory beyond all limits, as many times as they connect.
#[test]
fn an_unfinished_line_is_counted_among_the_bytes_in_flight() {
    let settings = ServerSettings {
        max_body_bytes: 60_000,
        max_body_bytes_in_flight: 100_000,
        read_timeout: Duration::from_secs(3),
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let held = |wanted: &dyn Fn(usize) -> bool| {
        server.until("/metrics", |got| {
            let text = got.text();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("batchwright_body_bytes "));
            wanted(line.unwrap().parse().unwrap())
        });
    };
    let words = "a ".repeat(27_500);
    let mut first = Open::on(&server);
    first.send(&format!("\"{words}"));
    held(&|bytes| bytes == 55_001);
    let body = json!({"text": words});
    let refused = server.post("/embed", &body).json(429);
    assert_eq!(
        refused["error"]["limit"]["name"],
        "max_body_bytes_in_flight"
    );
    // Both wait for what the other has; one gives way, and is told so in the line's place.
    let mut second = Open::on(&server);
    second.send("\"a ");
    held(&|bytes| bytes == 55_004);
    second.send(&words);
    held(&|bytes| bytes == 55_001);
    second.send("\"\n\"short\"\n");
    let refused = second.answer();
    assert_eq!(refused["error"]["code"], "overloaded", "{refused}");
    assert_eq!(
        refused["error"]["limit"]["name"],
        "max_body_bytes_in_flight"
    );
    assert!(second.answer()["embedding"].is_array());
    first.send("\"\n");
    assert!(first.answer()["embedding"].is_array());
    held(&|bytes| bytes == 0);
}

/// A stream whose lines come faster than their bytes are given back would stand still for ever.
#[test]
fn lines_come_through_however_few_bytes_may_be_in_flight() {
    let settings = ServerSettings {
        max_body_bytes: 1_000,
        max_body_bytes_in_flight: 1_000,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let line = json!("turn on the lights ".repeat(20)).to_string();
    let body = format!("{line}\n").repeat(300);
    let got = server.ask("POST", "/predict/stream", &[], body.as_bytes());
    let answers = lines(&got.text());
    assert_eq!(answers.len(), 300);
    assert!(answers.iter().all(|answer| answer["embedding"].is_array()));
}

/// A client could hold as much as others may send, for as long as it likes.
#[test]
fn a_long_line_ends_in_time() {
    let settings = ServerSettings {
        read_timeout: Duration::from_secs(2),
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let mut stream = Open::on(&server);
    // A short beginning may wait in a client's buffer.
    stream.send("\"a");
    std::thread::sleep(Duration::from_millis(2_500));
    stream.send("\"\n");
    assert!(stream.answer()["embedding"].is_array());
    stream.send(&format!("\"{}", "a".repeat(2 << 20)));
    let late = stream.answer();
    assert_eq!(late["error"]["code"], "slow_request", "{late}");
    let words = late["error"]["message"].as_str().unwrap();
    assert!(words.contains("--read-timeout-s"), "{words}");
}
