//! Memory of GPUs in `/metrics`, as a stand-in for NVIDIA's library tells it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use batchwright_server::ServerSettings;

use crate::client::{Running, settings, spec};

/// Compiles the stand-in. None, and why on standard error, if this machine has no compiler.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn stand_in(directory: &Path) -> Option<PathBuf> {
    let library = directory.join("libstandin.so");
    let path = |name: &str| format!("-D{name}=\"{}\"", directory.join(name).display());
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .args([path("LOST"), path("HANG")])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/nvml.c"))
        .status();
    match compiled {
        Ok(status) => assert!(status.success(), "cc: {status}"),
        Err(error) => {
            eprintln!("skipped: `cc`, which compiles a stand-in for NVML, cannot be run: {error}");
            return None;
        }
    }
    Some(library)
}

fn server(library: PathBuf) -> Running {
    let settings = ServerSettings {
        nvml: Some(library),
        ..settings()
    };
    Running::with(settings, vec![spec("m", "bert-embed")])
}

/// What a page says of GPUs, without its comments.
fn samples(page: &str) -> Vec<&str> {
    let lines = page.lines();
    lines
        .filter(|line| line.starts_with("batchwright_gpu_"))
        .collect()
}

/// The samples, in the page's order: one metric of all devices after the other.
fn expected(devices: &[usize]) -> Vec<String> {
    let sample = |kind: &str, index: &usize, mib: usize| {
        format!(
            "batchwright_gpu_memory_{kind}_bytes{{index=\"{index}\",uuid=\"GPU-{index}\",name=\"Stand-in 8\\\"\"}} {}",
            mib << 20
        )
    };
    let used = devices.iter().map(|at| sample("used", at, 1000 + at));
    let total = devices.iter().map(|at| sample("total", at, 8192));
    used.chain(total)
        .chain([sample("process", &0, 312)])
        .collect()
}

/// Operators would watch memory that is not there, or lose all devices with one that is lost, or the whole page to a
/// driver that hangs.
#[test]
fn each_gpu_that_answers_tells_its_memory() {
    let directory = tempfile::tempdir().unwrap();
    let Some(library) = stand_in(directory.path()) else {
        return;
    };
    let server = server(library);
    let tells = |devices: &[usize]| {
        let expected = expected(devices);
        server.until("/metrics", |got| samples(&got.text()) == expected)
    };
    let page = tells(&[0, 1, 2]).text();
    for kind in ["used", "total", "process"] {
        let head = format!("# TYPE batchwright_gpu_memory_{kind}_bytes gauge\n");
        assert_eq!(page.matches(&head).count(), 1, "{page}");
    }
    let lost = directory.path().join("LOST");
    File::create(&lost).unwrap();
    tells(&[0, 2]);
    fs::remove_file(&lost).unwrap();
    tells(&[0, 1, 2]);
    let hang = directory.path().join("HANG");
    File::create(&hang).unwrap();
    let page = server.get("/metrics").text();
    fs::remove_file(&hang).unwrap();
    assert!(!page.contains("batchwright_gpu_"), "{page}");
    assert!(page.contains("batchwright_up_seconds "), "{page}");
    tells(&[0, 1, 2]);
}

/// A machine without GPUs would have series of zeros, or no server.
#[test]
fn without_the_library_nothing_is_told_of_gpus() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("libnvidia-ml.so.1");
    let broken = directory.path().join("broken.so");
    fs::write(&broken, "no library").unwrap();
    for library in [missing, broken] {
        let page = server(library).get("/metrics").text();
        assert!(!page.contains("gpu"), "{page}");
        assert!(page.contains("process_resident_memory_bytes "), "{page}");
    }
}
