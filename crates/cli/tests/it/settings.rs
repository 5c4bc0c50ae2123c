//! Flags, the environment and the configuration file.

use crate::workplace::{Workplace, finish, floats, model};

/// A setting of the file or the environment would not hold, or win over what was typed.
#[test]
fn file_yields_to_environment_and_environment_to_flags() {
    let place = Workplace::new();
    place.write("in.csv", crate::workplace::csv(10));
    let model = model("bert-embed");
    place.write(
        "settings.toml",
        format!(
            "model = {model:?}\nbatch_tokens = 64\nthreads = 1\nkeep = [\"id\"]\nquiet = true\n"
        ),
    );
    let words = [
        "embed",
        "in.csv",
        "-o",
        "out.jsonl",
        "--summary-json",
        "summary.json",
        "--restart",
    ];
    let with_file = [&words[..], &["--config", "settings.toml"]].concat();

    let ran = place.run(&with_file).ok();
    assert_eq!(ran.err, "", "quiet = true");
    let found = place.summary("summary.json");
    assert_eq!(
        (found["batch_tokens"].as_u64(), found["threads"].as_u64()),
        (Some(64), Some(1))
    );
    let row = place.rows("out.jsonl")[0].clone();
    assert!(row.get("text").is_none() && row["id"] == "0", "{row}");

    let mut command = place.command(&with_file);
    command
        .env("BATCHWRIGHT_BATCH_TOKENS", "128")
        .env("BATCHWRIGHT_KEEP", "text");
    finish(command.spawn().unwrap()).ok();
    assert_eq!(
        place.summary("summary.json")["batch_tokens"].as_u64(),
        Some(128)
    );
    assert_eq!(place.summary("summary.json")["threads"].as_u64(), Some(1));
    assert!(place.rows("out.jsonl")[0].get("text").is_some());

    let typed = [&with_file[..], &["--batch-tokens", "200"]].concat();
    let mut command = place.command(&typed);
    command.env("BATCHWRIGHT_BATCH_TOKENS", "128");
    finish(command.spawn().unwrap()).ok();
    assert_eq!(
        place.summary("summary.json")["batch_tokens"].as_u64(),
        Some(200)
    );

    let mut command = place.command(&words);
    command.env("BATCHWRIGHT_CONFIG", "settings.toml");
    finish(command.spawn().unwrap()).ok();
    assert_eq!(
        place.summary("summary.json")["batch_tokens"].as_u64(),
        Some(64)
    );
}

/// Vectors would have the length that the environment says and not the one that was just typed, or the
/// two be called a contradiction.
#[test]
fn a_typed_normalize_wins_over_the_environment() {
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights\n");
    let model = model("bert-embed");
    let length = |variable: &str, value: &str, typed: &str| {
        let mut command = place.command(&["embed", "in.csv", "-m", &model, typed]);
        let ran = finish(command.env(variable, value).spawn().unwrap()).ok();
        let squares = floats(&ran.rows()[0]["embedding"])
            .into_iter()
            .map(|v| v * v);
        squares.sum::<f32>().sqrt()
    };
    assert!((length("BATCHWRIGHT_NORMALIZE", "true", "--no-normalize") - 1.0).abs() > 0.01);
    assert!((length("BATCHWRIGHT_NORMALIZE", "false", "--normalize") - 1.0).abs() < 1e-4);
}

/// A user would look for the mistake in what was typed.
#[test]
fn a_bad_variable_is_named() {
    let place = Workplace::new();
    let mut command = place.command(&["models"]);
    command.env("BATCHWRIGHT_THREADS", "many");
    finish(command.spawn().unwrap())
        .code(1)
        .says("invalid value 'many'")
        .says("BATCHWRIGHT_THREADS");
    let mut command = place.command(&["models", "--threads", "few"]);
    command.env("BATCHWRIGHT_THREADS", "2");
    let ran = finish(command.spawn().unwrap()).code(1);
    assert!(!ran.err.contains("BATCHWRIGHT_THREADS"), "{}", ran.err);
}

/// One file serves all commands: a directory that holds for the jobs would be asked for again.
#[test]
fn the_cache_directory_can_stand_in_the_file() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("answers")).unwrap();
    place.write(
        "settings.toml",
        "cache_dir = \"answers\"\nreport_json = \"b.json\"\n",
    );
    let with_file = |words: &[&str]| place.run(&[words, &["--config", "settings.toml"]].concat());
    assert!(
        with_file(&["cache", "stats"])
            .ok()
            .text()
            .contains("answers: 0 B")
    );
    with_file(&["models"]).ok();
}

/// A misspelt setting is silently another job.
#[test]
fn unknown_settings_are_named_with_the_nearest() {
    let place = Workplace::new();
    place.write("in.csv", "text\ngood\n");
    place.write("settings.toml", "batch_token = 64\n");
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "--config", "settings.toml"];
    place
        .run(&words)
        .code(1)
        .says("settings.toml")
        .says("`batch_token`")
        .says("`batch_tokens`");
    place
        .run(&["embed", "in.csv", "-m", &model, "--config", "no.toml"])
        .code(1)
        .says("no.toml");
    let mut command = place.command(&["embed", "in.csv", "-m", &model]);
    command.env("BATCHWRIGHT_TREADS", "1");
    let ran = finish(command.spawn().unwrap()).ok();
    ran.says("BATCHWRIGHT_TREADS").says("BATCHWRIGHT_THREADS");
}

/// One file serves all commands: what says nothing to a task must not stop it.
#[test]
fn settings_for_another_task_are_passed_over() {
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights\n");
    place.write(
        "settings.toml",
        "top_k = 2\ndimensions = 8\naggregation = \"max\"\n",
    );
    for (task, name) in [
        ("embed", "bert-embed"),
        ("classify", "bert-classify"),
        ("tag", "bert-tag"),
    ] {
        let model = model(name);
        place
            .run(&[task, "in.csv", "-m", &model, "--config", "settings.toml"])
            .ok();
    }
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "--config", "settings.toml"];
    assert_eq!(
        floats(&place.run(&words).ok().rows()[0]["embedding"]).len(),
        8
    );
}

/// Programs read the summary: its names and figures are a promise.
#[test]
fn the_summary_tells_what_was_done() {
    let place = Workplace::new();
    place.write(
        "in.csv",
        "text\nturn on the lights\nturn on the lights\n\"\"\nwhat is my balance\n",
    );
    let model = model("bert-embed");
    let words = [
        "embed",
        "in.csv",
        "-m",
        &model,
        "-o",
        "out.csv",
        "--summary-json",
        "summary.json",
        "--max-tokens",
        "8",
        "--batch-size",
    ];
    place
        .run(&words)
        .code(2)
        .says("missing_value 1")
        .says("out.csv (4 rows")
        .says("truncated");
    let found = place.summary("summary.json");
    for (key, expected) in [
        ("rows", 4),
        ("rows_before", 0),
        ("output_rows", 4),
        ("errors", 1),
        ("output_errors", 1),
        ("duplicates", 1),
        ("truncated_rows", 3),
    ] {
        assert_eq!(found[key].as_u64(), Some(expected), "{key}: {found:#}");
    }
    assert_eq!(found["errors_by_code"]["missing_value"].as_u64(), Some(1));
    assert_eq!(found["cache"]["hits"].as_u64(), Some(1));
    assert_eq!(
        (found["task"].as_str(), found["complete"].as_bool()),
        (Some("embed"), Some(true))
    );
    assert!(found["seconds"].as_f64() > Some(0.0) && found["load_seconds"].as_f64() > Some(0.0));
    assert_eq!(
        found["tokens"].as_u64(),
        Some(16),
        "two distinct rows of 8 tokens"
    );
}

/// Words where only data belongs would break whatever reads the data.
#[test]
fn data_and_words_are_apart() {
    let place = Workplace::new();
    place.write("in.csv", crate::workplace::csv(20));
    let model = model("bert-embed");
    let ran = place
        .run(&["embed", "in.csv", "-m", &model])
        .ok()
        .says("embed: 20 rows in");
    assert_eq!(
        ran.rows().len(),
        20,
        "standard output is JSON Lines and nothing else"
    );
    let quiet = place
        .run(&["embed", "in.csv", "-m", &model, "--quiet"])
        .ok();
    assert_eq!(quiet.err, "");
    assert_eq!(quiet.out, ran.out);
    place
        .run(&["embed", "no.csv", "-m", &model, "-q"])
        .code(1)
        .says("error: no.csv");
}

/// A service without a home (systemd, a bare container) could not run a model that lies in a directory.
#[test]
fn a_model_directory_needs_no_home() {
    let place = Workplace::new();
    place.write("in.txt", "turn on the lights\n");
    let mut command = place.command(&["embed", "in.txt", "-m", &model("bert-embed")]);
    command.env_remove("HOME");
    let ran = finish(command.spawn().unwrap()).ok();
    assert_eq!(ran.rows().len(), 1);
}
