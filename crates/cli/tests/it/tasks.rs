//! Each task gives what PyTorch and transformers give, through the command line.

use serde_json::{Value, json};
use testing::golden::{Case, Entity, Golden, Side};
use testing::{CaseTable, Tolerance};

use crate::workplace::{Workplace, floats, json_lines};

/// Rounded as the golden files are, to six digits, and f32 besides.
const SCORES: Tolerance = Tolerance {
    absolute: 2e-5,
    relative: 0.0,
};

/// The flags under which the model answers the case as the reference did.
fn flags(golden: &Golden, case: &Case) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
    match &case.prompt_name {
        Some(name) => flag("--prompt-name", name.clone()),
        None if !case.prompt.is_empty() => flag("--prompt", case.prompt.clone()),
        None => {}
    }
    if case.truncate == Side::Left {
        flag("--truncate", "left".into());
    }
    if case.max_tokens != golden.max_tokens {
        flag("--max-tokens", case.max_tokens.to_string());
    }
    if let Some(dimensions) = case.dimensions {
        flag("--dimensions", dimensions.to_string());
    }
    if case.pair.is_some() {
        flag("--pair-column", "pair".into());
    }
    flags
}

/// Answers all cases of a model, those with the same flags in one run.
fn answers(golden: &Golden, extra: &[&str]) -> Vec<(Case, Value)> {
    let place = Workplace::new();
    let mut groups: Vec<(Vec<String>, Vec<Case>)> = Vec::new();
    for case in &golden.cases {
        let flags = flags(golden, case);
        match groups.iter_mut().find(|(known, _)| *known == flags) {
            Some((_, cases)) => cases.push(case.clone()),
            None => groups.push((flags, vec![case.clone()])),
        }
    }
    let mut answered = Vec::new();
    for (flags, cases) in groups {
        let lines = cases.iter().map(|case| match &case.pair {
            Some(pair) => json!({"text": case.text, "pair": pair}).to_string(),
            None => json!({"text": case.text}).to_string(),
        });
        place.write("in.jsonl", lines.collect::<Vec<_>>().join("\n"));
        let directory = golden.directory.to_str().unwrap();
        let mut words = vec![golden.task.as_str(), "in.jsonl", "-m", directory];
        words.extend(flags.iter().map(String::as_str));
        words.extend(extra);
        let rows = json_lines(&place.run(&words).ok().out);
        assert_eq!(rows.len(), cases.len(), "{flags:?}");
        answered.extend(cases.into_iter().zip(rows));
    }
    answered
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// Vectors that differ from the reference's would make every search built on them worse.
#[test]
fn embed_gives_the_reference_s_vectors() {
    let mut table = CaseTable::new("embeddings are sentence-transformers'");
    for golden in testing::golden::all()
        .iter()
        .filter(|golden| golden.task == "embed")
    {
        for (case, row) in answers(golden, &[]) {
            let name = format!("{} / {}", golden.name, case.name);
            let vector = floats(&row["embedding"]);
            let mut expected = golden.answer(&case);
            if case.dimensions.is_some() && (length(&vector) - 1.0).abs() < 1e-5 {
                // sentence-transformers cuts after normalising; here a vector that the model
                // normalises has length 1 whatever its dimensions.
                let scale = 1.0 / length(&expected);
                expected.iter_mut().for_each(|value| *value *= scale);
            }
            table.close(name, &vector, &expected, Tolerance::GOLDEN);
        }
    }
    table.finish();
}

/// Labels in another order, or scores of another label.
#[test]
fn classify_gives_the_reference_s_scores() {
    let mut table = CaseTable::new("scores are transformers'");
    for golden in testing::golden::all()
        .iter()
        .filter(|golden| golden.task == "classify")
    {
        let all = ["--top-k", "1000", "--threshold", "-1000000"];
        for (case, row) in answers(golden, &all) {
            let name = format!("{} / {}", golden.name, case.name);
            if row.get("labels").is_none() {
                table.close(
                    &name,
                    &[row["score"].as_f64().unwrap() as f32],
                    &case.scores,
                    SCORES,
                );
                continue;
            }
            let scores = floats(&row["scores"]);
            let labels: Vec<&str> = row["labels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|l| l.as_str().unwrap())
                .collect();
            let by_model: Vec<f32> = golden
                .labels
                .iter()
                .map(|label| scores[labels.iter().position(|l| l == label).unwrap()])
                .collect();
            table.close(&name, &by_model, &case.scores, SCORES);
        }
    }
    table.finish();
}

/// Without flags there is one label a row, the best.
#[test]
fn classify_gives_the_best_label() {
    let golden = Golden::load("bert-classify");
    let mut table = CaseTable::new("the best label is given");
    for (case, row) in answers(&golden, &[]) {
        let best = case.scores.iter().copied().fold(f32::MIN, f32::max);
        let at = case.scores.iter().position(|score| *score == best).unwrap();
        table.equal(
            &case.name,
            &row["label"].as_str().unwrap(),
            &golden.labels[at].as_str(),
        );
        table.close(
            &case.name,
            &[row["score"].as_f64().unwrap() as f32],
            &[best],
            SCORES,
        );
    }
    table.finish();
}

/// `--raw-scores` promises the network's own numbers, and `--top-k` and `--threshold` cut the list.
#[test]
fn classify_s_flags_shape_the_labels() {
    let golden = Golden::load("bert-classify");
    let raw = answers(&golden, &["--raw-scores", "--top-k", "3"]);
    let mut table = CaseTable::new("raw scores are logits");
    for (case, row) in &raw {
        let mut logits = golden.answer(case);
        logits.sort_by(|a, b| b.total_cmp(a));
        table.close(&case.name, &floats(&row["scores"]), &logits, SCORES);
    }
    table.finish();
    let two = answers(&golden, &["--top-k", "2"]);
    assert!(
        two.iter()
            .all(|(_, row)| row["labels"].as_array().unwrap().len() == 2)
    );
    let none = answers(&golden, &["--threshold", "1.1"]);
    assert!(
        none.iter()
            .all(|(_, row)| row["label"].is_null() && row["error"].is_null())
    );
}

/// A reranker's order would be wrong.
#[test]
fn rerank_gives_the_reference_s_scores() {
    let mut table = CaseTable::new("pair scores are the cross-encoder's");
    for golden in testing::golden::all()
        .iter()
        .filter(|golden| golden.task == "rerank")
    {
        for (raw, extra) in [(false, vec![]), (true, vec!["--raw-scores"])] {
            for (case, row) in answers(golden, &extra) {
                let name = format!("{} / {} raw {raw}", golden.name, case.name);
                let expected = if raw {
                    golden.answer(&case)
                } else {
                    case.scores.clone()
                };
                let score = row["score"].as_f64().unwrap() as f32;
                table.close(name, &[score], &expected, SCORES);
            }
        }
    }
    table.finish();
}

/// An entity at the wrong characters would black out the wrong words.
#[test]
fn tag_gives_the_reference_s_entities() {
    let mut table = CaseTable::new("entities are the pipeline's");
    for golden in testing::golden::all()
        .iter()
        .filter(|golden| golden.task == "tag")
    {
        for how in ["none", "simple", "first", "max"] {
            for (case, row) in answers(golden, &["--aggregation", how]) {
                let name = format!("{} / {} {how}", golden.name, case.name);
                let strategies = case.entities.as_ref().unwrap();
                let expected = match how {
                    "none" => &strategies.none,
                    "simple" => &strategies.simple,
                    "first" => &strategies.first,
                    _ => &strategies.max,
                };
                table.check(name, same_entities(&case.text, &row["entities"], expected));
            }
        }
    }
    table.finish();
}

fn same_entities(text: &str, found: &Value, expected: &[Entity]) -> Result<(), String> {
    let found = found.as_array().ok_or("no list of entities")?;
    if found.len() != expected.len() {
        return Err(format!(
            "{} entities where {} are expected",
            found.len(),
            expected.len()
        ));
    }
    for (found, Entity(label, score, start, end)) in found.iter().zip(expected) {
        let words: String = text.chars().skip(*start).take(end - start).collect();
        let same = found["label"] == *label
            && found["start"] == *start
            && found["end"] == *end
            && found["text"] == words
            && SCORES.admits(found["score"].as_f64().unwrap_or(f64::NAN) as f32, *score);
        if !same {
            return Err(format!(
                "{found} where {label} {score} {start}..{end} {words:?} is expected"
            ));
        }
    }
    Ok(())
}

/// A threshold that is not applied would let doubtful names through.
#[test]
fn tag_leaves_out_what_is_below_the_threshold() {
    let golden = Golden::load("bert-tag");
    let all = answers(&golden, &[]);
    let some = answers(&golden, &["--threshold", "0.8"]);
    let count = |answers: &[(Case, Value)], least: f64| {
        let entities = answers
            .iter()
            .flat_map(|(_, row)| row["entities"].as_array().unwrap());
        entities
            .filter(|entity| entity["score"].as_f64().unwrap() >= least)
            .count()
    };
    assert_eq!(count(&some, 0.0), count(&all, 0.8));
    assert!(
        count(&some, 0.0) < count(&all, 0.0),
        "the threshold cuts something off"
    );
}

/// `predict` runs the model's own task, whichever it is.
#[test]
fn predict_runs_the_model_s_task() {
    for (name, column) in [
        ("bert-embed", "embedding"),
        ("bert-classify", "label"),
        ("bert-tag", "entities"),
    ] {
        let place = Workplace::new();
        place.write("in.csv", "text\nturn on the lights\n");
        let model = crate::workplace::model(name);
        let rows = place.run(&["predict", "in.csv", "-m", &model]).ok().rows();
        assert!(!rows[0][column].is_null(), "{name}: {rows:?}");
    }
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights\n");
    let model = crate::workplace::model("bert-classify");
    let rows = place
        .run(&["predict", "in.csv", "-m", &model, "--task", "embed"])
        .ok()
        .rows();
    assert_eq!(floats(&rows[0]["embedding"]).len(), 32);
}

/// Flags of vectors do what they say.
#[test]
fn embed_s_flags_shape_the_vectors() {
    let place = Workplace::new();
    place.write("in.csv", "text\nturn on the lights in the kitchen\n");
    let model = crate::workplace::model("bert-embed");
    let vector = |flags: &[&str]| {
        let words = [&["embed", "in.csv", "-m", &model], flags].concat();
        floats(&place.run(&words).ok().rows()[0]["embedding"])
    };
    let plain = vector(&["--normalize"]);
    assert!((length(&plain) - 1.0).abs() < 1e-5);
    let raw = vector(&["--no-normalize"]);
    assert!((length(&raw) - 1.0).abs() > 1e-3, "{}", length(&raw));
    assert_eq!(vector(&["--normalize=false"]), raw);
    assert_eq!(
        vector(&["--no-normalize", "--normalize"]),
        plain,
        "the last one wins"
    );
    let mut seen = vec![];
    for pooling in ["cls", "mean", "max", "mean-sqrt", "last"] {
        let vector = vector(&["--pooling", pooling, "--no-normalize"]);
        assert!(
            !seen.contains(&vector),
            "{pooling} is another pooling's vector"
        );
        seen.push(vector);
    }
    assert_eq!(vector(&["--dimensions", "8"]).len(), 8);
    assert_ne!(vector(&["--prompt", "find this: "]), vector(&[]));
    assert_eq!(
        vector(&["--prompt", "find this: "]),
        vector(&["--prompt-name", "query"])
    );
}
