//! Compressed bodies, both ways.

use std::io::{Read, Write};

use batchwright_server::ServerSettings;
use serde_json::{Value, json};

use crate::client::{Running, settings, spec};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Clients that compress would be answered for garbage, and a bomb would fill the memory.
#[test]
fn compressed_bodies_are_read_within_the_limits() {
    let settings = ServerSettings {
        max_body_bytes: 500_000,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let texts: Vec<String> = (0..200).map(|row| format!("turn on light {row}")).collect();
    let body = json!({"texts": texts}).to_string();
    let plain = server.ask("POST", "/embed", &[], body.as_bytes()).json(200)["results"].clone();
    let lines: String = texts
        .iter()
        .map(|text| format!("{}\n", json!(text)))
        .collect();
    let bomb = json!({"text": "a".repeat(10 << 20)}).to_string();
    type Pack = fn(&[u8]) -> Vec<u8>;
    let codings: [(&str, Pack); 3] = [("gzip", gzip), ("deflate", zlib), ("zstd", zstd)];
    for (name, pack) in codings {
        let ask =
            |path: &str, body: &[u8]| server.ask("POST", path, &[("content-encoding", name)], body);
        let got = ask("/embed", &pack(body.as_bytes())).json(200);
        assert_eq!(got["results"], plain, "{name}");
        let stream = ask("/predict/stream", &pack(lines.as_bytes()));
        assert_eq!(stream.text().lines().count(), texts.len(), "{name}");
        let packed = pack(bomb.as_bytes());
        assert!(packed.len() < 500_000);
        let got = ask("/embed", &packed).json(413);
        assert_eq!(got["error"]["limit"]["name"], "max_body_bytes", "{name}");
        // A line that is a bomb costs itself alone.
        let mut lines = bomb.clone();
        lines.push_str("\n\"a\"\n");
        let got = ask("/predict/stream", &pack(lines.as_bytes())).text();
        let got: Vec<Value> = got
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(got[0]["error"]["limit"]["name"], "max_body_bytes", "{name}");
        assert!(got[1]["embedding"].is_array(), "{name}");
        assert_eq!(ask("/embed", &packed[..10]).code(400), "bad_request");
        assert_eq!(ask("/embed", body.as_bytes()).code(400), "bad_request");
    }
    let brotli = [("content-encoding", "br")];
    let got = server.ask("POST", "/embed", &brotli, b"x");
    assert_eq!(got.code(415), "unknown_coding");
    let identity = [("content-encoding", "identity")];
    server
        .ask("POST", "/embed", &identity, body.as_bytes())
        .json(200);
    server.until("/metrics", |got| {
        got.text().contains("batchwright_body_bytes 0")
    });
}

/// Large answers would take the network longer than the network of neurons; small ones be delayed for nothing.
#[test]
fn large_answers_are_compressed_for_who_accepts_it() {
    let settings = ServerSettings {
        compress_from: 10_000,
        ..settings()
    };
    let server = Running::with(settings, vec![spec("m", "bert-embed")]);
    let texts: Vec<String> = (0..200).map(|row| format!("turn on light {row}")).collect();
    let body = json!({"texts": texts}).to_string();
    let ask = |accepted: &str, body: &str| {
        server.ask(
            "POST",
            "/embed",
            &[("accept-encoding", accepted)],
            body.as_bytes(),
        )
    };
    let plain = ask("identity", &body);
    assert!(plain.body.len() > 20_000 && !plain.headers.contains_key("content-encoding"));
    let packed = ask("gzip, deflate", &body);
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.headers["vary"], "accept-encoding");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..])
        .read_to_string(&mut text)
        .unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap()["results"].clone();
    assert_eq!(read(&text), read(&plain.text()));
    let packed = ask("br, gzip, zstd", &body);
    assert_eq!(packed.headers["content-encoding"], "zstd");
    let text = zstd::stream::decode_all(&packed.body[..]).unwrap();
    assert_eq!(
        read(std::str::from_utf8(&text).unwrap()),
        read(&plain.text())
    );
    let small = ask("gzip", r#"{"text": "a"}"#);
    assert!(!small.headers.contains_key("content-encoding"));
}
