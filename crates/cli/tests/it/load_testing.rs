//! `batchwright load-test`, on a server that answers at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::thread;

use crate::workplace::{Workplace, finish};

/// Answers every request with `{}` and this status; gives its URL. It ends with the test's process.
fn server(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no concern of the server's.
            thread::spawn(move || drop(serve(stream, status)));
        }
    });
    url
}

fn serve(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    let mut length = 0;
    while reader.read_line(&mut line)? > 0 {
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            reader.read_exact(&mut vec![0; length])?;
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}"
            )?;
        }
        line.clear();
    }
    Ok(())
}

const SHORT: [&str; 7] = [
    "--whole",
    "--warm-up-seconds",
    "0.1",
    "--window-seconds",
    "0.2",
    "--duration-seconds",
    "0.6",
];

fn place() -> Workplace {
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights\nwhat is my balance\n");
    place
}

/// The figures of a measurement would be in no form that a program or a person can use.
#[test]
fn a_measurement_is_a_table_json_and_a_picture() {
    let (place, url) = (place(), server(200));
    for pace in [
        &["--rate", "300"][..],
        &["--connections", "3", "--threads", "2"],
    ] {
        let files = ["--report-json", "load.json", "--report-svg", "load.svg"];
        let words = [&["load-test", &url, "in.csv"][..], &SHORT, pace, &files].concat();
        let ran = place.run(&words).ok();
        let shown = String::from_utf8(ran.out.clone()).unwrap();
        for words in ["requests/s", "p99", "POST /embed", "The generator took"] {
            assert!(shown.contains(words), "no {words:?} in\n{shown}");
        }
        assert!(ran.err.contains("requests/s, p50"), "{}", ran.err);
        let report: serde_json::Value = serde_json::from_slice(&place.read("load.json")).unwrap();
        assert_eq!(report["windows"].as_array().unwrap().len(), 3);
        assert_eq!(
            (&report["failed"], &report["refused"]),
            (&0.into(), &0.into())
        );
        let answered = report["answered"].as_u64().unwrap();
        assert!(answered > 50, "{report}");
        assert_eq!(report["statuses"]["200"], answered);
        assert_eq!(report["different_requests"], 2);
        assert!(
            report["latency"]["percentiles"][4]["percentile"] == 99.0,
            "{report}"
        );
        assert!(place.read("load.svg").starts_with(b"<svg"));
    }
}

/// A user would have to try rates by hand.
#[test]
fn a_sweep_finds_a_rate() {
    let (place, url) = (place(), server(200));
    let words = [
        "load-test",
        &url,
        "in.csv",
        "--target-p99-ms",
        "60000",
        "--rate",
        "40",
    ];
    let files = ["--report-json", "sweep.json", "--report-svg", "sweep.svg"];
    let ran = place.run(&[&words[..], &SHORT, &files].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown = String::from_utf8(ran.out).unwrap();
    assert!(
        shown.contains("Highest rate with a p99 within 60,000 ms"),
        "{shown}"
    );
    let report: serde_json::Value = serde_json::from_slice(&place.read("sweep.json")).unwrap();
    assert_eq!(report["trials"][0]["offered_per_second"], 40.0);
    assert_eq!(report["trials"][0]["met"], true);
    assert!(place.read("sweep.svg").starts_with(b"<svg"));
}

/// What was measured until Ctrl-C would be lost.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_the_report_so_far() {
    let (place, url) = (place(), server(200));
    let words = [
        "load-test",
        &url,
        "in.csv",
        "--whole",
        "--warm-up-seconds",
        "0",
        "--window-seconds",
    ];
    let command = [
        &words[..],
        &[
            "0.1",
            "--duration-seconds",
            "1000",
            "--report-json",
            "load.json",
        ],
    ];
    let mut child: Child = place.command(&command.concat()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("requests/s") {
        assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    // What it still says must go somewhere.
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let ran = finish(child);
    assert_eq!(ran.code, Some(130));
    let shown = String::from_utf8(ran.out).unwrap();
    assert!(
        shown.contains("interrupted: the figures are of the time until then"),
        "{shown}"
    );
    let report: serde_json::Value = serde_json::from_slice(&place.read("load.json")).unwrap();
    assert_eq!(report["ended"], "interrupted");
    assert!(report["answered"].as_u64().unwrap() > 0);
}

/// A user would wait a minute for a report of failures, or not learn what to change.
#[test]
fn what_cannot_be_measured_is_said_at_once() {
    let place = place();
    let (good, missing, busy) = (server(200), server(404), server(429));
    let url = good.as_str();
    for (words, said) in [
        (
            &["load-test", &missing, "in.csv"][..],
            "POST /embed alone was answered 404",
        ),
        (&["load-test", "localhost:1", "in.csv"], "write http://"),
        (
            &["load-test", "http://127.0.0.1:1", "in.csv"],
            "no connection",
        ),
        (&["load-test", url, "no.csv"], "no.csv"),
        (
            &["load-test", url, "in.csv", "--protocol", "oip"],
            "--model",
        ),
        (&["load-test", url, "in.csv", "--task", "rerank"], "pairs"),
        (
            &["load-test", url, "in.csv", "--header", "Key"],
            "write NAME: VALUE",
        ),
        (&["load-test", url, "in.csv", "--rate", "0"], "--rate"),
        (
            &["load-test", url, "in.csv", "--target-p99-ms", "0"],
            "--target-p99-ms",
        ),
        (
            &["load-test", url, "in.csv", "--duration-seconds", "8"],
            "say --whole",
        ),
        (
            &["load-test", url, "in.csv", "--report-json", "in.csv"],
            "in.csv",
        ),
    ] {
        let ran = place.run(words);
        assert_eq!(ran.code, Some(1), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{words:?}: {}", ran.err);
    }
    // Refused throughout: a report, and the exit code of a test that showed nothing.
    let ran = place.run(&[&["load-test", &busy, "in.csv"][..], &SHORT].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(String::from_utf8(ran.out).unwrap().contains("status 429"));
}

/// Other servers' requests would be malformed.
#[test]
fn each_protocol_is_spoken() {
    let (place, url) = (place(), server(200));
    for (protocol, path) in [
        ("own", "/embed"),
        ("openai", "/v1/embeddings"),
        ("oip", "/v2/models/minilm/infer"),
        ("tei", "/embed"),
    ] {
        let words = [
            "load-test",
            &url,
            "in.csv",
            "-m",
            "minilm",
            "--protocol",
            protocol,
        ];
        let ran = place.run(&[&words[..], &SHORT, &["--rows-per-request", "2"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let shown = String::from_utf8(ran.out).unwrap();
        assert!(
            shown.contains(&format!("POST {path}, 2 texts a request")),
            "{shown}"
        );
    }
}
