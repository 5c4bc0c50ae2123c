//! `kill -9` in the middle of a download.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use batchwright_catalogue::{Network, NoProgress, ResolveOptions, SourceError, resolve};

use crate::stand_in::{Gate, Hub};
use crate::{Home, files_under, options, reasons};

const ENDPOINT: &str = "CATALOGUE_TEST_ENDPOINT";
const DIRECTORY: &str = "CATALOGUE_TEST_DIRECTORY";

/// Not a test of its own: the process that the test below kills. Without its variables it does
/// nothing.
#[test]
fn victim() {
    if let (Ok(endpoint), Ok(directory)) = (std::env::var(ENDPOINT), std::env::var(DIRECTORY)) {
        resolve(
            "owner/name",
            &options(Path::new(&directory), &endpoint),
            &NoProgress,
        )
        .unwrap();
    }
}

/// After a power cut the user would have a torso for a model, or a lock that nobody opens.
#[test]
fn a_killed_download_leaves_no_model_and_no_lock() {
    let weights = vec![7; 200_000];
    let hub = Hub::serve(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", &weights),
    ]);
    let home = Home::new();
    let (reached, at_gate) = channel();
    let (open, go_on) = channel();
    hub.gate(Gate {
        file: "model.safetensors",
        reached,
        go_on,
    });
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::victim"])
        .env(ENDPOINT, &hub.endpoint)
        .env(DIRECTORY, home.directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    at_gate.recv().unwrap();
    victim.kill().unwrap();
    assert!(!victim.wait().unwrap().success());
    drop(open);

    let shown = files_under(&home.hub_cache())
        .into_iter()
        .filter(|f| f.contains("snapshots"));
    assert_eq!(shown.count(), 0);
    let online = home.options(&hub.endpoint);
    let offline = ResolveOptions {
        network: Network::Offline,
        ..online.clone()
    };
    let found = reasons(resolve("owner/name", &offline, &NoProgress).unwrap_err());
    assert!(
        matches!(found[..], [SourceError::Offline { .. }]),
        "{found:?}"
    );

    let model = resolve("owner/name", &online, &NoProgress).unwrap();
    assert_eq!(
        std::fs::read(model.directory.join("model.safetensors")).unwrap(),
        weights
    );
    let parts = files_under(&home.hub_cache())
        .into_iter()
        .filter(|f| f.contains("part"));
    assert_eq!(parts.count(), 0);
}
