//! The promise that speed changes nothing: the same bytes under every batch, thread and cache.

use testing::CaseTable;

use crate::workplace::{Workplace, csv, model};

/// Someone who reruns a job on a larger machine would get other vectors, and every index built on the
/// old ones would be wrong in a way nobody sees.
#[test]
fn batches_and_threads_change_no_byte() {
    let place = Workplace::new();
    // Some rows twice, for a cache to find.
    place.write("in.csv", csv(300) + &csv(100).replace("id,text\n", ""));
    let mut table = CaseTable::new("the output's bytes do not depend on batches or threads");
    for (task, name) in [
        ("embed", "mpnet-embed"),
        ("classify", "roberta-classify"),
        ("tag", "bert-tag"),
    ] {
        let model = model(name);
        let output = |flags: &[&str]| {
            let words = [
                &[
                    task,
                    "in.csv",
                    "-m",
                    &model,
                    "-o",
                    "out.parquet",
                    "--restart",
                ],
                flags,
            ]
            .concat();
            place.run(&words).ok();
            place.read("out.parquet")
        };
        let expected = output(&[]);
        for tokens in ["1", "64", "200", "4096"] {
            for threads in ["1", "2", "4"] {
                let found = output(&["--batch-tokens", tokens, "--threads", threads]);
                let same = (found == expected)
                    .then_some(())
                    .ok_or("other bytes".to_owned());
                table.check(format!("{task}: {tokens} tokens, {threads} threads"), same);
            }
        }
        for flags in [
            &["--batch-size", "1"][..],
            &["--batch-size"],
            &["--window", "1"],
            &["--window", "7", "--threads", "3"],
            &["--cache", "off"],
            &["--cache", "4KiB"],
            &["--cache-dir", "answers"],
            // The second time everything comes from the disk.
            &["--cache-dir", "answers", "--cache", "off"],
        ] {
            let same = (output(flags) == expected)
                .then_some(())
                .ok_or("other bytes".to_owned());
            table.check(format!("{task}: {flags:?}"), same);
        }
    }
    table.finish();
}

/// A cache on disk that is never used would only cost space.
#[test]
fn the_cache_on_disk_saves_the_next_job_its_work() {
    let place = Workplace::new();
    place.write("in.csv", csv(200));
    let model = model("bert-embed");
    let hits = |output: &str| {
        let words = [
            "embed",
            "in.csv",
            "-m",
            &model,
            "-o",
            output,
            "--cache-dir",
            "answers",
            "--summary-json",
            "summary.json",
        ];
        place.run(&words).ok();
        place.summary("summary.json")["cache"]["hits"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(hits("a.jsonl"), 0);
    assert_eq!(hits("b.jsonl"), 200);
    assert_eq!(place.read("a.jsonl"), place.read("b.jsonl"));
    let stats = place
        .run(&["cache", "stats", "--cache-dir", "answers"])
        .ok()
        .text();
    assert!(stats.contains("of one model"), "{stats}");
    place
        .run(&["cache", "clear", "--cache-dir", "answers"])
        .ok()
        .says("freed");
    assert_eq!(hits("c.jsonl"), 0, "a cleared cache is empty");
    // A limit holds: with no room nothing is kept for the next job.
    let words = [
        "embed",
        "in.csv",
        "-m",
        &model,
        "-o",
        "d.jsonl",
        "--cache-dir",
        "tiny",
        "--cache-dir-limit",
        "1KiB",
    ];
    place.run(&words).ok();
    let again = [
        &words[..4],
        &["-o", "e.jsonl", "--summary-json", "summary.json"],
        &words[6..],
    ]
    .concat();
    place.run(&again).ok();
    let summary = place.summary("summary.json");
    assert!(
        summary["cache"]["hits"].as_u64().unwrap() < 20,
        "{summary:#}"
    );
}
