//! A row's bits do not depend on what runs beside it.

use batchwright_engine::{Input, Prediction};
use testing::CaseTable;
use testing::golden::Golden;

use crate::{bits, builder, texts};

/// A user who re-runs a job on another machine size, or one row of it, would get other vectors.
#[test]
fn same_bits_in_any_batch_at_any_number_of_threads() {
    let mut table = CaseTable::new("a row's answer does not depend on its neighbours");
    let texts = texts(60);
    for name in ["bert-embed", "mpnet-embed", "xlm-roberta-embed"] {
        let golden = Golden::load(name);
        let alone = builder(&golden).threads(1).load().unwrap();
        let expected: Vec<_> = texts
            .iter()
            .map(|text| bits(&alone.embed([text.as_str()]).unwrap()[0]))
            .collect();
        for threads in [1, 2, 4] {
            for tokens in [1, 64, 200, 4_096] {
                let model = builder(&golden)
                    .threads(threads)
                    .batch_tokens(tokens)
                    .window(25)
                    .load()
                    .unwrap();
                let what = format!("{name}, {threads} threads, {tokens} tokens");
                let at_once: Vec<_> = model
                    .embed(&texts[..25])
                    .unwrap()
                    .iter()
                    .map(|v| bits(v))
                    .collect();
                table.equal(format!("{what}, at once"), &at_once[..], &expected[..25]);
                let streamed: Vec<_> = model
                    .predict_stream(texts.clone())
                    .map(|prediction| match prediction.unwrap() {
                        Prediction::Embedding(vector) => bits(&vector),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                table.equal(format!("{what}, streamed"), &streamed, &expected);
                let single: Vec<_> = texts[..5]
                    .iter()
                    .map(|text| match model.predict(text.as_str()).unwrap() {
                        Prediction::Embedding(vector) => bits(&vector),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                table.equal(format!("{what}, single"), &single[..], &expected[..5]);
            }
        }
    }
    table.finish();
}

/// Threads of a program that share a model would get each other's answers.
#[test]
fn one_model_serves_many_threads() {
    let golden = Golden::load("bert-embed");
    let model = builder(&golden)
        .threads(2)
        .cache_entries(16)
        .load()
        .unwrap();
    let texts = texts(40);
    let expected = model.embed(&texts).unwrap();
    model.clear_cache().unwrap();
    std::thread::scope(|scope| {
        for offset in 0..6 {
            let (model, texts, expected) = (&model, &texts, &expected);
            scope.spawn(move || {
                for n in 0..texts.len() {
                    let row = (n + 7 * offset) % texts.len();
                    match model.predict(texts[row].as_str()).unwrap() {
                        Prediction::Embedding(vector) => assert_eq!(vector, expected[row]),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}

/// A batch bound in rows is what users of other tools know; it must not change answers.
#[test]
fn a_bound_on_rows_changes_nothing_but_speed() {
    let golden = Golden::load("bert-embed");
    let texts = texts(50);
    let expected = builder(&golden).load().unwrap().embed(&texts).unwrap();
    for rows in [1, 3, 32] {
        let model = builder(&golden).batch_size(rows).load().unwrap();
        let inputs: Vec<Input> = texts.iter().map(|text| text.as_str().into()).collect();
        let found = model.predict_batch(&inputs, |_| {});
        let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        let wanted: Vec<_> = expected
            .iter()
            .cloned()
            .map(Prediction::Embedding)
            .collect();
        assert_eq!(found, wanted, "{rows} rows a batch");
    }
}
