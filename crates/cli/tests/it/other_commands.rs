//! bench, doctor, models, cache, completions, help.

use crate::workplace::{Workplace, csv, model};

/// A recommendation that is not measured, or not used when it is saved.
#[test]
fn bench_measures_recommends_draws_and_saves() {
    let place = Workplace::new();
    place.write("in.csv", csv(60));
    let model = model("bert-embed");
    let words = [
        "bench",
        "in.csv",
        "-m",
        &model,
        "--rows",
        "40",
        "--rounds",
        "1",
        "--queries",
        "5",
        "--try-batch-tokens",
        "1,77",
        "--try-threads",
        "1,2",
        "--threads",
        "2",
        "--report-json",
        "bench.json",
        "--report-svg",
        "bench.svg",
        "--save",
    ];
    let ran = place
        .run(&words)
        .ok()
        .says("saved to")
        .says("written: bench.svg");
    let text = ran.text();
    for words in [
        "40 rows",
        "one text",
        "Recommended: --batch-tokens",
        "from the cache",
        "p99 ms",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    let report: serde_json::Value = serde_json::from_slice(&place.read("bench.json")).unwrap();
    assert_eq!(report["rows"].as_u64(), Some(40));
    assert_eq!(report["single"]["queries"].as_u64(), Some(5));
    let tried: Vec<(u64, u64)> = report["budgets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| {
            (
                b["threads"].as_u64().unwrap(),
                b["batch_tokens"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(tried, [(1, 1), (1, 77), (2, 1), (2, 77)]);
    assert!(report["machine"]["processor"].is_string());
    assert!(
        String::from_utf8(place.read("bench.svg"))
            .unwrap()
            .contains("2 threads")
    );

    // What was saved is what the next run uses.
    let words = [
        "embed",
        "in.csv",
        "-m",
        &model,
        "--threads",
        "2",
        "-o",
        "out.csv",
        "--summary-json",
        "s.json",
    ];
    place.run(&words).ok();
    let summary = place.summary("s.json");
    assert_eq!(summary["batch_tokens"], report["recommended_batch_tokens"]);

    // One that is damaged keeps nobody from working.
    let profiles = place.path(".cache/batchwright/profiles");
    for profile in std::fs::read_dir(profiles).unwrap() {
        std::fs::write(profile.unwrap().path(), "{").unwrap();
    }
    place.run(&["embed", "in.csv", "-m", &model]).ok();
}

/// Later runs on all threads would use what was best on one.
#[test]
fn bench_saves_nothing_for_other_threads() {
    let place = Workplace::new();
    place.write("in.csv", csv(5));
    let model = model("bert-embed");
    let few = [
        "--rounds",
        "1",
        "--queries",
        "1",
        "--try-batch-tokens",
        "64",
    ];
    let other = ["--try-threads", "1", "--threads", "2", "--save"];
    let words = [&["bench", "in.csv", "-m", &model][..], &few, &other].concat();
    place
        .run(&words)
        .code(1)
        .says("nothing was measured with all 2 threads");
}

/// Nothing to measure must not be a division by zero.
#[test]
fn bench_needs_rows() {
    let place = Workplace::new();
    place.write("in.csv", "id,text\n");
    place.write("bad.csv", "id,text\n1,\n2,good\n");
    let model = model("bert-embed");
    place
        .run(&["bench", "in.csv", "-m", &model])
        .code(1)
        .says("no row to measure with");
    let words = [
        "bench",
        "bad.csv",
        "-m",
        &model,
        "--rounds",
        "1",
        "--queries",
        "1",
    ];
    let words = [&words[..], &["--try-batch-tokens", "64"]].concat();
    place.run(&words).ok().says("1 row could not be read");
}

/// The first thing that is asked for when something does not work.
#[test]
fn doctor_looks_at_everything_and_tells_no_secret() {
    let place = Workplace::new();
    let mut command = place.command(&["doctor", "--cache-dir", "answers"]);
    command
        .env("HF_TOKEN", "hf_very_secret")
        .env("HF_ENDPOINT", "http://mirror.invalid");
    let ran = crate::workplace::finish(command.spawn().unwrap()).ok();
    let text = ran.text();
    for words in [
        "version",
        "processor",
        "threads",
        "GFLOP/s",
        "memory",
        "gpu",
        "models",
        "answers",
        "hub",
        "a token",
        "http://mirror.invalid",
        "pip",
        "HF_TOKEN",
    ] {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
    assert!(!text.contains("hf_very_secret"), "{text}");
    assert!(
        text.lines()
            .all(|line| line.starts_with("ok") || line.starts_with("warn")),
        "{text}"
    );
    let json = place.run(&["doctor", "--json"]).ok().text();
    let findings: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert!(
        findings
            .iter()
            .all(|finding| finding["state"] == "ok" || finding["remedy"].is_string())
    );
    place.write("file", "");
    let text = place
        .run(&["doctor", "--cache-dir", "file/answers"])
        .ok()
        .text();
    assert!(
        text.contains("warn") && text.contains("give another --cache-dir"),
        "{text}"
    );
}

/// A name that is listed must be one that `-m` takes, and be told apart from what is here.
#[test]
fn models_lists_the_catalogue() {
    let place = Workplace::new();
    let text = place.run(&["models"]).ok().text();
    assert!(text.lines().next().unwrap().starts_with("NAME"), "{text}");
    assert!(
        text.contains("all-MiniLM-L6-v2") && text.contains("Apache-2.0"),
        "{text}"
    );
    let json: Vec<serde_json::Value> =
        serde_json::from_str(&place.run(&["models", "--json"]).ok().text()).unwrap();
    assert!(
        json.iter().all(|entry| entry["here"] == false),
        "a new home has no model"
    );
    for entry in &json {
        let name = entry["name"].as_str().unwrap();
        place.write("in.csv", "text\ngood\n");
        let ran = place
            .run(&["embed", "in.csv", "-m", name, "--offline"])
            .code(1);
        assert!(!ran.err.contains("unknown model"), "{name}: {}", ran.err);
    }
}

/// `cache clear` in the wrong directory must not remove what is not a cache.
#[test]
fn cache_clear_touches_nothing_else() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("answers")).unwrap();
    place.write("answers/thesis.doc", "x");
    place
        .run(&["cache", "clear", "--cache-dir", "answers"])
        .ok();
    assert!(place.path("answers/thesis.doc").exists());
    let text = place
        .run(&["cache", "stats", "--cache-dir", "answers"])
        .ok()
        .text();
    assert!(text.contains("0 B"), "{text}");
    place
        .run(&["cache", "stats", "--cache-dir", "nope"])
        .code(1)
        .says("no such directory");
    place.run(&["cache", "stats"]).code(1).says("--cache-dir");
}

/// Exit code 2 means rows with errors: a misspelt command must not look like that.
#[test]
fn help_and_mistakes_have_their_exit_codes() {
    let place = Workplace::new();
    for words in [
        &["--help"][..],
        &["--version"],
        &["embed", "--help"],
        &["bench", "-h"],
    ] {
        assert!(!place.run(words).ok().out.is_empty(), "{words:?}");
    }
    for words in [
        &["embd"][..],
        &["embed"],
        &["embed", "--what"],
        &["doctor", "x"],
    ] {
        place.run(words).code(1).says("Usage");
    }
    let help = place.run(&["embed", "--help"]).ok().text();
    for words in ["Examples:", "--text-column", "Cache:", "64MiB]"] {
        assert!(help.contains(words), "no {words:?}");
    }
    assert!(
        !help.contains("--aggregation") && !help.contains("--isa"),
        "{help}"
    );
}

/// A completion script that names no flag completes nothing.
#[test]
fn completions_are_for_every_shell() {
    let place = Workplace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).ok().text();
        assert!(script.contains("batch-tokens"), "{shell}");
    }
}
