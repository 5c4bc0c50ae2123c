//! The hub: what arrives, what is refused, what survives.

use std::net::TcpListener;
use std::sync::mpsc::channel;

use batchwright_catalogue::{
    Entry, FileSum, Network, NoProgress, Purpose, ResolveOptions, Source, SourceError, resolve,
    resolve_entry,
};

use crate::stand_in::{COMMIT, Fault, Gate, Hub};
use crate::{Home, Recorder, files_under, reasons, sha256};

/// Long enough to be received in several pieces.
fn weights() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i * 7 % 251) as u8).collect()
}

const MODULES: &[u8] =
    br#"[{"path":"","type":"a.Transformer"},{"path":"1_Pooling","type":"a.Pooling"}]"#;

/// A model with what else repositories hold: it must stay where it is.
fn serve_model() -> Hub {
    Hub::serve(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{\"model\":{}}"),
        ("modules.json", MODULES),
        (
            "1_Pooling/config.json",
            b"{\"pooling_mode_cls_token\":true}",
        ),
        ("model.safetensors", &weights()),
        ("pytorch_model.bin", b"pickle"),
        ("onnx/model.onnx", b"graph"),
        ("README.md", b"words"),
    ])
}

const CHOSEN: [&str; 5] = [
    "1_Pooling/config.json",
    "config.json",
    "model.safetensors",
    "modules.json",
    "tokenizer.json",
];

fn offline(options: &ResolveOptions) -> ResolveOptions {
    ResolveOptions {
        network: Network::Offline,
        ..options.clone()
    }
}

/// The plain case. A user would have no model, or twice the download, or lose it at the next start.
#[test]
fn a_model_arrives_whole_and_stays() {
    let (hub, home, recorder) = (serve_model(), Home::new(), Recorder::default());
    let options = home.options(&hub.endpoint);
    let model = resolve("owner/name", &options, &recorder).unwrap();
    assert_eq!(model.source, format!("hub owner/name at {COMMIT}"));
    assert_eq!(files_under(&model.directory), CHOSEN);
    assert_eq!(
        std::fs::read(model.directory.join("model.safetensors")).unwrap(),
        weights()
    );
    let begun = recorder.begun.lock().unwrap().clone();
    assert_eq!(
        begun.last().unwrap(),
        &("owner/name: weights".to_owned(), Some(300_000))
    );
    assert_eq!(*recorder.position.lock().unwrap(), 300_000);
    assert_eq!(
        *recorder.open.lock().unwrap(),
        0,
        "a bar was left on the screen"
    );

    hub.requests();
    assert_eq!(resolve("owner/name", &options, &NoProgress).unwrap(), model);
    assert_eq!(
        resolve("owner/name", &offline(&options), &NoProgress).unwrap(),
        model
    );
    let pinned = resolve(
        &format!("owner/name@{COMMIT}"),
        &offline(&options),
        &NoProgress,
    );
    assert_eq!(pinned.unwrap(), model);
    assert_eq!(
        hub.requests(),
        [],
        "a model that is here was asked for again"
    );

    let parts = files_under(&home.hub_cache())
        .into_iter()
        .filter(|file| file.contains("part"));
    assert_eq!(parts.count(), 0);
}

/// A token would be shown to every host that the hub redirects to.
#[test]
fn the_token_goes_to_the_hub_alone() {
    let (hub, home) = (serve_model(), Home::new());
    hub.fault(Fault::Gated { token: "secret" });
    let mut options = home.options(&hub.endpoint);
    options.environment.hub_token = Some("secret".to_owned().into());
    resolve("owner/name", &options, &NoProgress).unwrap();
    for request in hub.requests() {
        let expected = (!request.path.starts_with("/cdn/")).then_some("Bearer secret");
        assert_eq!(request.token.as_deref(), expected, "{}", request.path);
    }
}

/// Large models come in shards: a missing one would show only when the weights are read.
#[test]
fn shards_are_fetched_by_their_index() {
    let index = br#"{"weight_map":{"a":"model-00001-of-00002.safetensors",
        "b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}"#;
    let hub = Hub::serve(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-00001-of-00002.safetensors", b"one"),
        ("model-00002-of-00002.safetensors", b"two"),
        ("other.safetensors", b"not in the index"),
    ]);
    let home = Home::new();
    let options = home.options(&hub.endpoint);
    let model = resolve("owner/name@refs/pr/1", &options, &NoProgress).unwrap();
    assert_eq!(
        files_under(&model.directory),
        [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json"
        ]
    );
    let again = resolve("owner/name@refs/pr/1", &offline(&options), &NoProgress);
    assert_eq!(again.unwrap(), model);
}

/// Each refusal has a remedy of its own; "download failed" would hide which.
#[test]
fn refusals_say_what_is_the_matter() {
    type Check = fn(&SourceError) -> bool;
    let cases: [(&str, Option<Fault>, Check); 6] = [
        (
            "owner/absent",
            None,
            |e| matches!(e, SourceError::NotFound { what } if what == "owner/absent"),
        ),
        (
            "owner/name@v9",
            None,
            |e| matches!(e, SourceError::NotFound { what } if what == "owner/name@v9"),
        ),
        ("owner/name", Some(Fault::Gated { token: "t" }), |e| {
            matches!(e, SourceError::Denied { status: 401, page, .. } if page.ends_with("/owner/name"))
                && e.to_string().contains("HF_TOKEN")
        }),
        (
            "owner/name",
            Some(Fault::Listing {
                status: 403,
                times: 1,
            }),
            |e| matches!(e, SourceError::Denied { status: 403, .. }),
        ),
        (
            "owner/name",
            Some(Fault::Listing {
                status: 503,
                times: 99,
            }),
            |e| matches!(e, SourceError::Status { status: 503, .. }),
        ),
        (
            "owner/name",
            Some(Fault::Longer {
                file: "model.safetensors",
            }),
            |e| {
                matches!(
                    e,
                    SourceError::WrongSize {
                        expected: 299_999,
                        ..
                    }
                )
            },
        ),
    ];
    for (spec, fault, check) in cases {
        let (hub, home) = (serve_model(), Home::new());
        if let Some(fault) = fault.clone() {
            hub.fault(fault);
        }
        let error = resolve(spec, &home.options(&hub.endpoint), &NoProgress).unwrap_err();
        let reasons = reasons(error);
        assert!(
            reasons.len() == 1 && check(&reasons[0]),
            "{spec} {fault:?}: {reasons:?}"
        );
    }
}

/// A passing overload of the hub would end an overnight job before it began.
#[test]
fn passing_faults_are_waited_out() {
    let (hub, home, recorder) = (serve_model(), Home::new(), Recorder::default());
    hub.fault(Fault::Listing {
        status: 503,
        times: 2,
    });
    hub.fault(Fault::Listing {
        status: 429,
        times: 1,
    });
    resolve("owner/name", &home.options(&hub.endpoint), &recorder).unwrap();
    let notes = recorder.notes.lock().unwrap().clone();
    assert_eq!(
        notes
            .iter()
            .filter(|note| note.contains("trying again"))
            .count(),
        3,
        "{notes:?}"
    );
}

/// Over a bad line a large file would begin again and again and never end.
#[test]
fn a_broken_connection_continues_where_it_broke() {
    for (ranges, starts) in [
        (true, vec![None, Some(100_000), Some(200_000)]),
        (false, vec![None; 3]),
    ] {
        let (hub, home) = (serve_model(), Home::new());
        // Without ranges the third try is the first that is not cut.
        hub.fault(Fault::Drop {
            file: "model.safetensors",
            after: 100_000,
            times: 2,
        });
        if !ranges {
            hub.fault(Fault::NoRanges);
        }
        let model = resolve("owner/name", &home.options(&hub.endpoint), &NoProgress).unwrap();
        assert_eq!(
            std::fs::read(model.directory.join("model.safetensors")).unwrap(),
            weights()
        );
        let requests = hub.requests();
        let downloads = requests
            .iter()
            .filter(|r| r.path == "/cdn/model.safetensors");
        let found: Vec<_> = downloads
            .map(|r| r.range.clone().filter(|_| ranges))
            .collect();
        let expected: Vec<_> = starts
            .iter()
            .map(|start| start.map(|start| format!("bytes={start}-")))
            .collect();
        assert_eq!(found, expected);
    }
}

/// After a failed download a later run would start from nothing, or worse, use the torso.
#[test]
fn an_abandoned_download_is_no_model_and_is_continued_by_the_next_run() {
    let (hub, home) = (serve_model(), Home::new());
    let options = home.options(&hub.endpoint);
    hub.fault(Fault::Drop {
        file: "model.safetensors",
        after: 100_000,
        times: 1,
    });
    hub.fault(Fault::Drop {
        file: "model.safetensors",
        after: 0,
        times: 99,
    });
    let reasons_found = reasons(resolve("owner/name", &options, &NoProgress).unwrap_err());
    assert!(
        matches!(
            &reasons_found[..],
            [SourceError::Interrupted {
                done_bytes: 100_000,
                ..
            }]
        ),
        "{reasons_found:?}"
    );
    let error = resolve("owner/name", &offline(&options), &NoProgress).unwrap_err();
    assert!(matches!(reasons(error)[..], [SourceError::Offline { .. }]));
    let shown = files_under(&home.hub_cache())
        .into_iter()
        .filter(|f| f.contains("snapshots"));
    assert_eq!(shown.count(), 0);

    hub.mend();
    hub.requests();
    resolve("owner/name", &options, &NoProgress).unwrap();
    let requests = hub.requests();
    let weights = requests
        .iter()
        .find(|r| r.path == "/cdn/model.safetensors")
        .unwrap();
    assert_eq!(weights.range.as_deref(), Some("bytes=100000-"));
}

/// Damaged weights would be loaded and answer nonsense.
#[test]
fn other_content_than_the_hub_announces_is_refused_and_not_kept() {
    for file in ["model.safetensors", "tokenizer.json"] {
        let (hub, home) = (serve_model(), Home::new());
        let options = home.options(&hub.endpoint);
        hub.fault(Fault::Corrupt { file });
        let found = reasons(resolve("owner/name", &options, &NoProgress).unwrap_err());
        assert!(
            matches!(&found[..], [SourceError::SumMismatch { file: bad, .. }] if bad == file),
            "{found:?}"
        );
        hub.mend();
        resolve("owner/name", &options, &NoProgress).unwrap();
    }
}

/// A file replaced on disk would change the answers under an unchanged name.
#[test]
fn a_model_that_was_changed_on_disk_is_noticed_and_mended() {
    let (hub, home, recorder) = (serve_model(), Home::new(), Recorder::default());
    let options = home.options(&hub.endpoint);
    let model = resolve("owner/name", &options, &NoProgress).unwrap();
    let path = model
        .directory
        .join("model.safetensors")
        .canonicalize()
        .unwrap();
    std::fs::write(&path, "replaced").unwrap();
    let found = reasons(resolve("owner/name", &offline(&options), &NoProgress).unwrap_err());
    assert!(
        matches!(found[..], [SourceError::SumMismatch { .. }]),
        "{found:?}"
    );
    resolve("owner/name", &options, &recorder).unwrap();
    assert!(recorder.notes.lock().unwrap()[0].contains("model.safetensors"));
    assert_eq!(std::fs::read(&path).unwrap(), weights());
}

/// What Python has downloaded would be downloaded once more; or, where Python took only the files
/// that it needed, the missing pooling file would change every vector.
#[test]
fn what_python_left_is_used_and_completed() {
    let (hub, home) = (serve_model(), Home::new());
    let folder = home.hub_cache().join("models--owner--name");
    let (blobs, snapshot) = (folder.join("blobs"), folder.join("snapshots").join(COMMIT));
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(folder.join("refs")).unwrap();
    std::fs::write(folder.join("refs/main"), COMMIT).unwrap();
    for (file, content) in [
        ("config.json", &b"{}"[..]),
        ("tokenizer.json", b"{\"model\":{}}"),
        ("model.safetensors", &weights()),
    ] {
        let name = match file {
            "config.json" => sha256(content)[..40].to_owned(),
            _ => sha256(content),
        };
        std::fs::write(blobs.join(&name), content).unwrap();
        std::fs::hard_link(blobs.join(&name), snapshot.join(file)).unwrap();
    }

    let recorder = Recorder::default();
    let options = home.options(&hub.endpoint);
    let model = resolve("owner/name", &offline(&options), &recorder).unwrap();
    assert_eq!(model.directory, snapshot);
    assert!(recorder.notes.lock().unwrap()[0].contains("another program"));

    let model = resolve("owner/name", &options, &NoProgress).unwrap();
    assert_eq!(files_under(&model.directory), CHOSEN);
    let requests = hub.requests();
    assert!(
        !requests.iter().any(|r| r.path.starts_with("/cdn/")),
        "fetched again: {requests:?}"
    );
}

/// `--offline` is a promise to the people who guard the network.
#[test]
fn offline_asks_nobody() {
    let (hub, home) = (serve_model(), Home::new());
    let found = reasons(
        resolve(
            "owner/name",
            &offline(&home.options(&hub.endpoint)),
            &NoProgress,
        )
        .unwrap_err(),
    );
    assert_eq!(
        found,
        [SourceError::Offline {
            looked_in: home.hub_cache()
        }]
    );
    let mut options = home.options(&hub.endpoint);
    options.environment.hub_network = Network::Offline;
    assert!(resolve("owner/name", &options, &NoProgress).is_err());
    assert_eq!(hub.requests(), []);
}

/// A job on a machine without a network would hang for minutes before it says so.
#[test]
fn a_host_that_cannot_be_reached_is_given_up_at_once() {
    let home = Home::new();
    let closed = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    for endpoint in [
        format!("http://{closed}"),
        format!("http://{}", silent.local_addr().unwrap()),
        "not an address".to_owned(),
    ] {
        let recorder = Recorder::default();
        let mut options = home.options(&endpoint);
        options.environment.patience.silence = std::time::Duration::from_millis(100);
        let found = reasons(resolve("owner/name", &options, &recorder).unwrap_err());
        assert!(
            matches!(&found[..], [SourceError::Unreachable { url, .. }] if *url == endpoint),
            "{found:?}"
        );
        let notes = recorder.notes.lock().unwrap().clone();
        assert!(
            !notes.iter().any(|note| note.contains("again")),
            "{notes:?}"
        );
    }
}

/// Two jobs started together would both download, or one would read what the other is writing.
#[test]
fn two_that_want_the_same_model_share_one_download() {
    let (hub, home) = (serve_model(), Home::new());
    let (reached, at_gate) = channel();
    let (open, go_on) = channel();
    hub.gate(Gate {
        file: "model.safetensors",
        reached,
        go_on,
    });
    let options = home.options(&hub.endpoint);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| resolve("owner/name", &options, &NoProgress));
        at_gate.recv().unwrap();
        let (waits, waiting) = channel();
        let second = scope.spawn(|| resolve("owner/name", &options, &Waits(waits)));
        assert!(waiting.recv().unwrap().contains("another process"));
        open.send(()).unwrap();
        assert_eq!(
            first.join().unwrap().unwrap(),
            second.join().unwrap().unwrap()
        );
    });
    let requests = hub.requests();
    assert_eq!(
        requests
            .iter()
            .filter(|r| r.path == "/cdn/model.safetensors")
            .count(),
        1
    );
}

/// Sends every note to the test.
struct Waits(std::sync::mpsc::Sender<String>);

impl batchwright_catalogue::FetchProgress for Waits {
    fn note(&self, message: &str) {
        self.0.send(message.to_owned()).unwrap();
    }
}

/// The catalogue's sums would be for show: a hub (or a mirror) could serve any weights under the
/// name, with a listing that agrees.
#[test]
fn the_catalogue_s_sums_outrank_the_hub_s_word() {
    let (hub, home) = (serve_model(), Home::new());
    let options = home.options(&hub.endpoint);
    for (sha, good) in [
        (sha256(&weights()), true),
        (sha256(b"the real ones"), false),
    ] {
        let sums = vec![FileSum {
            path: "model.safetensors",
            bytes: 300_000,
            sha256: sha.leak(),
        }];
        let source = Source::Hub {
            id: "owner/name",
            revision: Some(COMMIT),
            files: sums.leak(),
        };
        let entry = Entry {
            name: "short",
            purpose: Purpose::Embed,
            family: "BERT",
            megabytes: 1,
            licence: "MIT",
            sources: vec![source].leak(),
        };
        match resolve_entry(&entry, &options, &NoProgress) {
            Ok(model) => assert!(good && model.licence == Some("MIT")),
            Err(error) => {
                let found = reasons(error);
                let mismatch = matches!(&found[..], [SourceError::SumMismatch { .. }]);
                assert!(!good && mismatch, "{found:?}");
            }
        }
    }
}
