//! `batchwright serve` as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;

use crate::workplace::{Workplace, model};

/// Starts a server on a free port, and finds it.
fn start(
    place: &Workplace,
    words: &[&str],
) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let words = [&["serve", "--port", "0", "--threads", "1"], words].concat();
    let mut child = place.command(&words).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening on http://");
    let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
    // Until the last model is ready, requests are refused.
    loop {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
        if line.trim_end().ends_with("ready") {
            break;
        }
    }
    (child, address, said)
}

/// Sends a request and reads the whole answer.
fn ask(address: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A deployment would lose requests, or be reported as failed.
#[test]
#[cfg(unix)]
fn sigterm_ends_it_and_loses_nothing() {
    let place = Workplace::new();
    place.write(
        "serve.toml",
        format!(
            "cache = \"1MiB\"\n[[model]]\nname = \"search\"\nmodel = {:?}\n[[model]]\nmodel = {:?}\nmax_tokens = 8\n",
            model("bert-embed"),
            model("bert-classify"),
        ),
    );
    let (mut child, address, _said) = start(&place, &["--config", "serve.toml"]);
    let got = ask(&address, "/embed", r#"{"text": "turn on the lights"}"#);
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(got.contains(r#""model":"search""#), "{got}");
    // Clients that ask without a pause: whoever was connected is answered.
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut answered = 0;
                while let Ok(mut stream) = TcpStream::connect(&address) {
                    let body = r#"{"texts": ["turn on the lights", "what is my balance"], "cache": false}"#;
                    let length = body.len();
                    let request = format!("POST /embed HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                    let mut answer = String::new();
                    let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
                    // The system may have taken a connection on that the server never saw: it is reset.
                    if asked.is_err() && answer.is_empty() {
                        break;
                    }
                    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('}'), "{answer}");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    ask(&address, "/embed", r#"{"text": "what is my balance"}"#);
    let id = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let answered: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert!(answered > 0);
}

/// A server without a model, or with a misspelt one, would start and refuse everything.
#[test]
fn what_cannot_be_served_is_said_at_once() {
    let place = Workplace::new();
    place.run(&["serve"]).code(1).says("which model?");
    place.run(&["serve", "-m", "=x"]).code(1).says("NAME=MODEL");
    place.write(
        "bad.toml",
        "[[model]]\nmodel = \"x\"\nprecison = \"fast\"\n",
    );
    place
        .run(&["serve", "--config", "bad.toml"])
        .code(1)
        .says("precison");
    let missing = ["serve", "--port", "0", "--offline", "-m", "./nowhere"];
    place.run(&missing).code(1).says("nowhere");
}
