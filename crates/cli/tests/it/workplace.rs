//! A fresh directory, and processes run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use testing::golden;

/// A directory of its own for a test; it is the working directory and the home of its processes.
pub(crate) struct Workplace {
    directory: TempDir,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A file of JSON Lines, parsed.
    pub(crate) fn rows(&self, name: &str) -> Vec<serde_json::Value> {
        json_lines(&self.read(name))
    }

    /// What `--summary-json` wrote to `name`.
    pub(crate) fn summary(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// A command with nothing of the developer's own environment that could change its answer.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_batchwright"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("BATCHWRIGHT_") || name.starts_with("HF_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path());
        command.env_remove("XDG_CACHE_HOME").args(words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        finish(self.command(words).spawn().unwrap())
    }

    /// Runs with this on standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // On a thread, for the process may write before it has read everything. It may also end
        // before, and that is for the test to judge.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let ran = finish(child);
        writer.join().unwrap();
        ran
    }
}

/// Waits for a process.
pub(crate) fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// Fails the test unless all rows were answered.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "standard error:\n{}", self.err);
        self
    }

    /// Fails the test unless standard error has these words.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.err.contains(words), "no {words:?} in:\n{}", self.err);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    pub(crate) fn rows(&self) -> Vec<serde_json::Value> {
        json_lines(&self.out)
    }
}

pub(crate) fn json_lines(bytes: &[u8]) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A list of numbers.
pub(crate) fn floats(value: &serde_json::Value) -> Vec<f32> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

/// The words that embed `in.csv` to `output`.
pub(crate) fn embed<'a>(model: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["embed", "in.csv", "-m", model, "-o", output]
}

/// The same in many shards and windows, for jobs that are to be stopped.
pub(crate) fn long_job<'a>(model: &'a str, window: &'a str, output: &'a str) -> Vec<&'a str> {
    let small = ["--rows-per-shard", "500", "--window", window];
    [&embed(model, output)[..], &small].concat()
}

/// The directory of a tiny model, such as `bert-embed`.
pub(crate) fn model(name: &str) -> String {
    let path = golden::root().join(name);
    assert!(path.is_dir(), "{}", path.display());
    path.to_str().unwrap().to_owned()
}

/// A copy of a tiny model that a test may change.
pub(crate) fn copy_of_model(name: &str, to: &Path) {
    copy(Path::new(&model(name)), to);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Distinct rows of different lengths, without end. The tiny models know letters and no digits: a row
/// is told from another by letters, or it would be computed once for all.
pub(crate) fn texts() -> impl Iterator<Item = String> {
    const WORDS: [&str; 8] = ["turn", "on", "the", "lights", "what", "is", "my", "balance"];
    (0_usize..).map(|row| {
        let letter = |place: u32| char::from(b"abcdefghik"[row / 10_usize.pow(place) % 10]);
        let number: String = (0..6).rev().map(letter).collect();
        let words: Vec<&str> = (0..row % 5)
            .map(|word| WORDS[(row * 7 + word) % 8])
            .collect();
        format!("{number} {}", words.join(" "))
    })
}

/// A CSV of `rows` rows with a number and a text.
pub(crate) fn csv(rows: usize) -> String {
    let mut text = String::from("id,text\n");
    for (row, words) in texts().take(rows).enumerate() {
        text.push_str(&format!("{row},{words}\n"));
    }
    text
}
