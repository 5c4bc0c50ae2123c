//! `--precision` and `--profile`.

use crate::workplace::{Workplace, csv, model};

/// Someone who asks for speed would get it with vectors of something else, or get none.
#[test]
fn every_precision_answers_nearly_the_same() {
    let place = Workplace::new();
    place.write("in.csv", csv(40));
    let model = model("bert-embed");
    let vectors = |precision: &str| -> Vec<Vec<f64>> {
        let words = ["embed", "in.csv", "-m", &model, "--precision", precision];
        let rows = place.run(&words).ok().says(precision).rows();
        rows.iter()
            .map(|row| serde_json::from_value(row["embedding"].clone()).unwrap())
            .collect()
    };
    let exact = vectors("exact");
    for (precision, allowed) in [("near", 1e-3), ("fast", 0.2)] {
        let found = vectors(precision);
        assert_eq!(found.len(), exact.len());
        let differences = exact
            .iter()
            .flatten()
            .zip(found.iter().flatten())
            .map(|(a, b)| (a - b).abs());
        let most = differences.fold(0.0, f64::max);
        assert!(most > 0.0, "{precision} computes in f32");
        assert!(most < allowed, "{precision} is off by {most}");
    }
}

/// Half of a file would have other vectors than the rest.
#[test]
fn a_job_is_not_continued_in_another_precision() {
    let place = Workplace::new();
    place.write("in.csv", csv(20));
    let model = model("bert-embed");
    let words = ["embed", "in.csv", "-m", &model, "-o", "out.parquet"];
    place.run(&words).ok();
    let other = [&words[..], &["--precision", "near"]].concat();
    place.run(&other).code(1).says("precision: exact -> near");
}

/// Someone who looks for what is slow would see nothing.
#[test]
fn the_profile_names_stages_and_operators() {
    let place = Workplace::new();
    place.write("in.csv", csv(40));
    let words = ["embed", "in.csv", "-m", &model("bert-embed"), "--profile"];
    let ran = place.run(&words).ok();
    for name in [
        "tokenising",
        "queries, keys, values",
        "attention",
        "of f32 peak",
    ] {
        assert!(ran.err.contains(name), "no {name:?} in:\n{}", ran.err);
    }
}
