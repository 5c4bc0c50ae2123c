//! Jobs that are killed and continued, or refuse to be.

use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use crate::workplace::{Workplace, csv, embed, finish, long_job, model};

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
    let (whole, broken) = (format!("whole.{output}"), format!("broken.{output}"));
    let started = Instant::now();
    place.run(&long_job(&model, "256", &whole)).ok();
    let time = started.elapsed();
    let expected = place.read(&whole);

    let job = long_job(&model, "256", &broken);
    let mut kills = 0;
    let mut moments = Vec::new();
    while kills < KILLS {
        let mut child = place.command(&job).spawn().unwrap();
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
        if place.path(&broken).exists() {
            assert!(
                place.read(&broken) == expected,
                "other bytes after kills at {moments:?}"
            );
            place.run(&job).ok().says("nothing to do");
            for name in [broken.clone(), format!("{broken}.manifest.json")] {
                std::fs::remove_file(place.path(&name)).unwrap();
            }
        }
    }
    let ran = place.run(&job).ok();
    assert!(
        place.read(&broken) == expected,
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

/// The same for text, which is joined in another way.
#[test]
fn csv_has_the_same_bytes_after_kill_9() {
    survives("csv");
}

/// The same where columns need no header.
#[test]
fn jsonl_has_the_same_bytes_after_kill_9() {
    survives("jsonl");
}

/// A job that stops after its first saved rows, which leaves it unfinished for sure. Gives the words
/// that continue it.
fn unfinished<'a>(place: &Workplace, model: &'a str) -> Vec<&'a str> {
    place.write(
        "in.csv",
        csv(200) + "200,\n" + &csv(200).replace("id,text\n", ""),
    );
    let words = embed(model, "out.jsonl");
    let stop = [&words[..], &["--window", "32", "--on-error", "stop"]].concat();
    place.run(&stop).code(1).says("192 rows are saved");
    words
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
        let mut words = unfinished(&place, &model);
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
    let words = unfinished(&place, &model);
    place.write("in.csv", csv(300));
    place.run(&words).code(1).says("input: ").says("--restart");
    // What speed depends on is no other job.
    let place = Workplace::new();
    let mut words = unfinished(&place, &model);
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
    place.run(&words).code(2).says("192 rows of an earlier run");
}

/// A finished output of another job would be overwritten by a slip of the hand.
#[test]
fn a_finished_output_is_not_overwritten() {
    let place = Workplace::new();
    place.write("in.csv", csv(10));
    place.write("out.csv", "someone's thesis");
    let model = model("bert-embed");
    let words = embed(&model, "out.csv");
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

/// The only copy of the data, or the answers of a night, would be replaced by something else.
#[test]
fn nothing_is_written_over_an_input_or_another_output() {
    let place = Workplace::new();
    place.write("in.csv", csv(10));
    let model = model("bert-embed");
    let bench = ["bench", "in.csv", "-m", &model];
    let to = embed(&model, "out.csv");
    let cases: [(&[&str], &[&str], &str); 8] = [
        (
            &embed(&model, "./in.csv"),
            &["--restart"],
            "both input and output; choose another -o",
        ),
        (&to, &["--summary-json", "in.csv"], "another --summary-json"),
        (&to, &["--summary-json", "./out.csv"], "is what -o writes"),
        (
            &to,
            &["--summary-json", "out.csv.manifest.json"],
            "is what -o writes",
        ),
        (&to, &["--summary-json", "no/s.json"], "mkdir -p no"),
        (&to, &["--summary-json", "."], "is a directory"),
        (
            &bench,
            &["--report-json", "in.csv"],
            "another --report-json",
        ),
        (
            &bench,
            &["--report-json", "r", "--report-svg", "r"],
            "is what --report-json writes",
        ),
    ];
    for (words, more, said) in cases {
        place.run(&[words, more].concat()).code(1).says(said);
        assert_eq!(place.read("in.csv"), csv(10).as_bytes(), "{more:?}");
        assert!(!place.path("out.csv").exists(), "{more:?}: computed first");
    }
}

/// The answers of the first run would be read as texts by the second, or a message about columns lead
/// astray.
#[test]
fn an_output_that_the_glob_matches_is_refused() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("logs")).unwrap();
    place.write("logs/a.csv", csv(10));
    let model = model("bert-embed");
    let words = ["embed", "logs/*.csv", "-m", &model, "-o", "logs/out.csv"];
    place.run(&words).ok();
    place
        .run(&words)
        .code(1)
        .says("logs/out.csv: is both input and output");
}

/// The exit code of "nothing to do" is that of the job: a script must not take bad rows for good.
#[test]
fn nothing_to_do_keeps_the_exit_code() {
    let place = Workplace::new();
    place.write("in.csv", "id,text\n1,\n2,good\n");
    let model = model("bert-embed");
    let words = embed(&model, "out.csv");
    place.run(&words).code(2);
    place.run(&words).code(2).says("nothing to do");
}
