//! Every request is counted, and as what it was.

use std::time::Duration;

use batchwright_load::{Endpoint, Load, LoadError, LoadSpec, Pacing, Payloads};

use crate::stand_in::{Act, StandIn};
use crate::{load, measure, short};

const SOON: Duration = Duration::from_millis(1);

/// Answers would be lost between connections, or requests be made that nobody counts.
#[test]
fn a_good_server_s_answers_are_all_counted() {
    for pacing in [Pacing::Closed, Pacing::Open { per_second: 400.0 }] {
        let server = StandIn::new(|_| Act::Answer(200, SOON));
        let spec = LoadSpec {
            pacing,
            threads: 2,
            ..short()
        };
        let report = measure(&server, &spec);
        assert!(report.answered > 50, "{report:?}");
        assert_eq!((report.refused, report.failed), (0, 0), "{report:?}");
        assert_eq!(report.statuses.keys().copied().collect::<Vec<_>>(), [200]);
        // The first alone, the warm-up, and those measured.
        assert!(server.requests() > report.answered);
        // The first connection is the one of the first request.
        assert!(
            server.connections() <= 5,
            "{} connections",
            server.connections()
        );
        let windows: u64 = report.windows.iter().map(|window| window.answered).sum();
        assert_eq!(report.windows.len(), 5);
        // Those that were underway at the end are waited for, and counted beside the windows.
        assert!(
            (windows..=windows + 4).contains(&report.answered),
            "{windows} {report:?}"
        );
        let bodies = server.bodies();
        for text in [r#"["a"]"#, r#"["bb"]"#] {
            let body = format!(r#"{{"texts":{text}}}"#).into_bytes();
            assert!(bodies.contains(&body), "{text}");
        }
        assert!(
            report
                .generator
                .processor_seconds
                .is_none_or(|time| time > 0.0 && time < 1.0)
        );
    }
}

/// A server that is refusing would look fast, or one that breaks off look well.
#[test]
fn each_mishap_is_counted_by_its_name() {
    for (act, name) in [
        (Act::Close, "closed before the answer"),
        (Act::CloseWithin, "closed within the answer"),
        (Act::Babble, "malformed"),
    ] {
        // The first request alone is answered, or the test would not begin.
        let act = move |number| match number % 2 {
            0 => Act::Answer(200, SOON),
            _ => act.clone(),
        };
        let report = measure(&StandIn::new(act), &short());
        assert!(report.answered > 10, "{name}: {report:?}");
        assert_eq!(report.failures.keys().copied().collect::<Vec<_>>(), [name]);
        assert_eq!(report.failures[name], report.failed);
        let share = report.failed as f64 / (report.failed + report.answered) as f64;
        assert!((0.3..0.7).contains(&share), "{name}: {report:?}");
    }
}

/// Refusals would spoil the latency of what was accepted, which an overloaded server must keep low.
#[test]
fn refusals_and_faults_stand_apart() {
    let server = StandIn::new(|number| match number % 4 {
        0 => Act::Answer(200, Duration::from_millis(20)),
        1 => Act::Answer(429, Duration::ZERO),
        2 => Act::Answer(503, Duration::ZERO),
        _ => Act::Answer(500, Duration::ZERO),
    });
    let report = measure(&server, &short());
    let statuses: Vec<u16> = report.statuses.keys().copied().collect();
    assert_eq!(statuses, [200, 429, 500, 503]);
    assert_eq!(report.answered, report.statuses[&200]);
    assert_eq!(
        report.refused,
        report.statuses[&429] + report.statuses[&503]
    );
    assert_eq!(report.failed, report.statuses[&500]);
    assert!(report.latency.lowest_ms >= 19.9, "{:?}", report.latency);
    assert!(report.refusal_latency.unwrap().percentile(50.0).unwrap().ms < 15.0);
}

/// Connections that the server closes after an answer, and answers in pieces, are ordinary.
#[test]
fn every_lawful_way_to_answer_counts() {
    for act in [
        Act::Chunked,
        Act::ThenClose { said: true },
        Act::ThenClose { said: false },
    ] {
        let name = format!("{act:?}");
        let report = measure(&StandIn::new(move |_| act.clone()), &short());
        assert!(report.answered > 20, "{name}: {report:?}");
        // Where a server closes without a word, a request may already be on its way to it.
        let before = report
            .failures
            .get("closed before the answer")
            .copied()
            .unwrap_or(0);
        assert_eq!(report.failed, before, "{name}: {report:?}");
        if !name.contains("false") {
            assert_eq!(report.failed, 0, "{name}: {report:?}");
        }
    }
}

/// A user would measure for a minute how fast a wrong path is refused.
#[test]
fn what_cannot_work_is_said_at_once() {
    let server = StandIn::new(|_| Act::Answer(404, Duration::ZERO));
    let begin = |url: &str, timeout| {
        let target: batchwright_load::Target = url.parse().unwrap();
        let endpoint = Endpoint::default();
        let payloads = Payloads::new(&target, &endpoint, &[], &["a".to_owned()], 1).unwrap();
        Load::prepare(target, payloads, timeout).unwrap_err()
    };
    let minute = Duration::from_secs(60);
    assert_eq!(
        begin(server.url(), minute),
        LoadError::Refused {
            path: "/embed".into(),
            status: 404,
            body: "body".into()
        }
    );
    let silent = StandIn::new(|_| Act::Silence);
    let error = begin(silent.url(), Duration::from_millis(50)).to_string();
    assert!(error.contains("no answer to the first request"), "{error}");
    let babbling = StandIn::new(|_| Act::Babble);
    assert!(matches!(
        begin(babbling.url(), minute),
        LoadError::NotHttp { .. }
    ));
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = begin(&format!("http://{free}"), minute);
    assert!(matches!(error, LoadError::Connect { .. }), "{error:?}");
}

/// The latencies of short texts behind long ones are what a length-aware server is for.
#[test]
fn short_and_long_texts_are_told_apart() {
    let server = StandIn::new(|_| Act::Answer(200, SOON));
    let spec = LoadSpec {
        split_chars: Some(20),
        ..short()
    };
    let report = load(&server).run(&spec, |_| {}, || false).unwrap();
    let by_length = report.latency_by_length.unwrap();
    let (short, long) = (by_length.short.count, by_length.long.count);
    assert_eq!(short + long, report.latency.count);
    // One of the three texts is long.
    assert!(
        long > 0 && short.abs_diff(2 * long) <= 4 * 5,
        "{short} {long}"
    );
}

/// Batchwright's server listens on such sockets too.
#[cfg(unix)]
#[test]
fn a_unix_socket_is_a_server_as_well() {
    use std::io::{Read, Write};

    // A name of its own for each process; the directory is the build's.
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4_096];
                // Each request comes in one piece, for it was written in one.
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .unwrap();
                }
            });
        }
    });
    let target: batchwright_load::Target = format!("unix:{}", path.display()).parse().unwrap();
    let payloads = Payloads::new(&target, &Endpoint::default(), &[], &["a".to_owned()], 1).unwrap();
    let load = Load::prepare(target, payloads, Duration::from_secs(5)).unwrap();
    let report = load.run(&short(), |_| {}, || false).unwrap();
    assert!(report.answered > 100 && report.failed == 0, "{report:?}");
    std::fs::remove_file(&path).unwrap();
}
