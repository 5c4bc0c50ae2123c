//! Jobs that are killed and continued, or refuse to be.

use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use crate::workplace::{Workplace, csv, finish, model};

/// Rows that take a tiny model about a second, in many shards.
const ROWS: usize = 20_000;
const KILLS: usize = 20;

/// A number below `limit`, another one each time.
fn random(limit: u64) -> u64 {
    std::hash::RandomState::new().build_hasher().finish() % limit
}

/// Kills a job at random moments until it has been killed often enough, and compares each finished
/// output with that of a run which was never stopped.
#[track_caller]
fn survives(output: &str) {
    let place = Workplace::new();
    place.write("in.csv", csv(ROWS));
    let model = model("bert-embed");
    let job = |output: &'static str| {
        vec![
            "embed",
            "in.csv",
            "-m",
            &model,
            "--rows-per-shard",
            "500",
            "--window",
            "256",
            "-o",
            output,
        ]
    };
    let started = Instant::now();
    let whole: &'static str = Box::leak(format!("whole.{output}").into_boxed_str());
    place.run(&job(whole)).ok();
    let time = started.elapsed();
    let expected = place.read(whole);

    let broken: &'static str = Box::leak(format!("broken.{output}").into_boxed_str());
    let mut kills = 0;
    let mut moments = Vec::new();
    while kills < KILLS {
        let mut child = place.command(&job(broken)).spawn().unwrap();
        // A random moment is the point of this test; a third of the run, so that a job is usually
        // killed several times before it is through.
        let moment = Duration::from_micros(random(time.as_micros() as u64 / 3));
        std::thread::sleep(moment);
        moments.push(moment);
        child.kill().unwrap();
        let ran = finish(child);
        match ran.code {
            None => kills += 1,
            Some(code) => assert_eq!(code, 0, "{}", ran.err),
        }
        if place.path(broken).exists() {
            assert!(
                place.read(broken) == expected,
                "other bytes after kills at {moments:?}"
            );
            place.run(&job(broken)).ok().says("nothing to do");
            for name in [broken.to_owned(), format!("{broken}.manifest.json")] {
                std::fs::remove_file(place.path(&name)).unwrap();
            }
        }
    }
    let ran = place.run(&job(broken)).ok();
    assert!(
        place.read(broken) == expected,
        "other bytes after kills at {moments:?}: {}",
        ran.err
    );
    assert!(
        !place.path(&format!("{broken}.parts")).exists(),
        "no parts are left"
    );
}

/// A power cut in the ninth hour would cost nine hours, or leave rows missing or doubled.
#[test]
fn parquet_has_the_same_bytes_after_kill_9() {
    survives("parquet");
}

#[test]
fn csv_has_the_same_bytes_after_kill_9() {
    survives("csv");
}

#[test]
fn jsonl_has_the_same_bytes_after_kill_9() {
    survives("jsonl");
}

/// A job that stops after its first saved rows, which leaves it unfinished for sure.
fn unfinished(place: &Workplace, model: &str) -> Vec<String> {
    place.write(
        "in.csv",
        csv(200) + "200,\n" + &csv(200).replace("id,text\n", ""),
    );
    let words = [
        "embed",
        "in.csv",
        "-m",
        model,
        "-o",
        "out.jsonl",
        "--window",
        "32",
    ];
    let stop = [&words[..], &["--on-error", "stop"]].concat();
    place.run(&stop).code(1).says("192 rows are saved");
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Half of the rows would be answered by one model and half by another.
#[test]
fn a_changed_job_is_refused_with_the_difference_named() {
    let model = model("bert-embed");
    let other = crate::workplace::model("distilbert-embed");
    let changes: [(&[&str], &str); 10] = [
        (&["-m", &other], "model: "),
        (&["--dimensions", "8"], "dimensions: model's own -> 8"),
        (&["--pooling", "cls"], "pooling: model's own -> cls"),
        (&["--prompt", "find this: "], "prompt: "),
        (&["--max-tokens", "9"], "max tokens: "),
        (&["--truncate", "left"], "truncate: "),
        (&["--on-long", "error"], "on long: "),
        (&["--drop", "id"], "columns: "),
        (&["--vector-type", "f16"], "columns: "),
        (&["--rows-per-shard", "100"], "shard"),
    ];
    for (change, named) in changes {
        let place = Workplace::new();
        let job = unfinished(&place, &model);
        let mut words: Vec<&str> = job.iter().map(String::as_str).collect();
        if change[0] == "-m" {
            words[3] = change[1];
        } else {
            words.extend(change);
        }
        place.run(&words).code(1).says(named).says("--restart");
        assert!(!place.path("out.jsonl").exists());
        words.push("--restart");
        place.run(&words).code(2);
        assert_eq!(place.rows("out.jsonl").len(), 401, "{change:?}");
    }
    let place = Workplace::new();
    let job = unfinished(&place, &model);
    let words: Vec<&str> = job.iter().map(String::as_str).collect();
    place.write("in.csv", csv(300));
    place.run(&words).code(1).says("input: ").says("--restart");
    // What speed depends on is no other job.
    let place = Workplace::new();
    let job = unfinished(&place, &model);
    let mut words: Vec<&str> = job.iter().map(String::as_str).collect();
    words.extend([
        "--threads",
        "1",
        "--batch-tokens",
        "64",
        "--cache",
        "off",
        "--window",
        "999",
    ]);
    words.remove(6);
    words.remove(6);
    place.run(&words).code(2).says("192 rows of an earlier run");
}

/// A finished output of another job would be overwritten by a slip of the hand.
#[test]
fn a_finished_output_is_not_overwritten() {
    let place = Workplace::new();
    place.write("in.csv", csv(10));
    place.write("out.csv", "someone's thesis");
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "-o", "out.csv"];
    place.run(&words).code(1).says("out.csv").says("--restart");
    assert_eq!(place.read("out.csv"), b"someone's thesis");
    place.run(&[&words[..], &["--restart"]].concat()).ok();
    let first = place.read("out.csv");
    place.run(&words).ok().says("nothing to do");
    assert_eq!(place.read("out.csv"), first);
    place
        .run(&[&words[..], &["--dimensions", "8"]].concat())
        .code(1)
        .says("--restart");
}

/// `--restart` would replace the only copy of the data.
#[test]
fn the_input_is_never_the_output() {
    let place = Workplace::new();
    place.write("in.csv", csv(10));
    let model = model("bert-embed");
    let words = [
        "embed",
        "in.csv",
        "-m",
        &model,
        "-o",
        "./in.csv",
        "--restart",
    ];
    place.run(&words).code(1).says("both input and output");
    assert_eq!(place.read("in.csv"), csv(10).as_bytes());
}

/// The exit code of "nothing to do" is that of the job: a script must not take bad rows for good.
#[test]
fn nothing_to_do_keeps_the_exit_code() {
    let place = Workplace::new();
    place.write("in.csv", "id,text\n1,\n2,good\n");
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "-o", "out.csv"];
    place.run(&words).code(2);
    place.run(&words).code(2).says("nothing to do");
}
