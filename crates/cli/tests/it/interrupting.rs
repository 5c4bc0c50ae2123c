//! Ctrl-C, closed pipes, and two processes at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::workplace::{Ran, Workplace, csv, finish, long_job, model};

/// Waits until `there` is so; a minute is long beyond any doubt.
#[track_caller]
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !there() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{what} did not happen"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// A user who must stop a job would lose what it has computed, or not know how to go on.
#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_same_command_continues() {
    let place = Workplace::new();
    place.write("in.csv", csv(20_000));
    let model = model("bert-embed");
    place.run(&long_job(&model, "128", "whole.parquet")).ok();
    let job = long_job(&model, "128", "out.parquet");
    for name in ["-INT", "-TERM"] {
        let child = place.command(&job).spawn().unwrap();
        let shard = place.path("out.parquet.parts/00000001.part");
        until("a second shard", || shard.exists());
        signal(&child, name);
        let ran: Ran = finish(child)
            .code(130)
            .says("the same command continues")
            .says("stopping: ");
        assert!(!place.path("out.parquet").exists(), "{name}: {}", ran.err);
        place.run(&job).ok().says("continuing: ");
        assert!(
            place.read("out.parquet") == place.read("whole.parquet"),
            "{name}: other bytes"
        );
        for left in ["out.parquet", "out.parquet.manifest.json"] {
            std::fs::remove_file(place.path(left)).unwrap();
        }
    }
}

/// A process that waits for input which never comes must still obey.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_job_that_waits_for_input() {
    let place = Workplace::new();
    let model = model("bert-embed");
    let words = ["embed", "-", "--input-format", "lines", "-m", &model];
    let mut child = place.command(&words).stdin(Stdio::piped()).spawn().unwrap();
    // Held open: the process waits for more.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"turn on the lights\n").unwrap();
    // It listens for signals before it reads rows.
    until("reading", || unread(&stdin) == 0);
    signal(&child, "-INT");
    finish(child)
        .code(130)
        .says("Ctrl-C again")
        .says("interrupted");
    drop(stdin);
}

/// A process that cannot even write must be stoppable.
#[cfg(unix)]
#[test]
fn the_second_ctrl_c_ends_at_once() {
    let place = Workplace::new();
    place.write("in.csv", csv(4_000));
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "--window", "4000"];
    let mut child = place.command(&words).spawn().unwrap();
    // Nobody reads the one window of a megabyte: the process hangs in its writing.
    let out = child.stdout.take().unwrap();
    until("writing", || unread(&out) > 0);
    signal(&child, "-INT");
    let mut line = String::new();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut line).unwrap();
    assert!(line.contains("Ctrl-C again"), "{line}");
    assert!(child.try_wait().unwrap().is_none(), "it hangs");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(out);
}

/// Bytes in a pipe that its reader has not taken.
#[cfg(unix)]
fn unread(pipe: impl std::os::fd::AsFd) -> u64 {
    rustix::io::ioctl_fionread(pipe).unwrap()
}

/// `batchwright … | head -1` is an everyday command: it must not end with words about pipes.
#[test]
fn a_closed_pipe_is_no_error() {
    let place = Workplace::new();
    place.write("in.csv", csv(5_000));
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "--window", "64"];
    let mut child = place.command(&words).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("embedding"), "{line}");
    drop(out);
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{err}");
    assert!(!err.contains("error"), "{err}");
    // Reports as well.
    let mut child = place.command(&["models"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Two processes on one output would write into one another's shards.
#[test]
fn a_second_process_on_the_same_job_is_refused() {
    let place = Workplace::new();
    let model = model("bert-embed");
    let words = [
        "embed",
        "-",
        "--input-format",
        "lines",
        "-m",
        &model,
        "-o",
        "out.jsonl",
    ];
    let mut first = place.command(&words).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = first.stdin.take().unwrap();
    until("the first job", || {
        place.path("out.jsonl.parts/manifest.json").exists()
    });
    place
        .run_with(&words, b"turn on the lights\n")
        .code(1)
        .says("another process");
    stdin.write_all(b"turn on the lights\n").unwrap();
    drop(stdin);
    finish(first).ok();
    assert_eq!(place.rows("out.jsonl").len(), 1);
}
