//! What is wrong with one row stays with that row.

use batchwright_engine::{Error, Input, Model, OnLong, Prediction, RowError, Window, codes};
use testing::golden::Golden;

use crate::builder;

/// One bad row among many would cost a user the others, or shift their answers.
#[test]
fn bad_rows_carry_errors_in_their_places() {
    let golden = Golden::load("bert-embed");
    let model = builder(&golden).on_long(OnLong::Error).load().unwrap();
    let long = "balance ".repeat(5_000);
    let unread = RowError::new("invalid_utf8", "byte 3 is not UTF-8");
    let rows = vec![
        Ok(Input::from("fine")),
        Err(unread.clone()),
        Ok(Input::from(long.as_str())),
        Ok(Input::from(("a", "pair"))),
        Ok(Input::from("")),
        Ok(Input::from("fine")),
    ];
    let window = model
        .run_windows(std::iter::once(Window { rows, payload: () }))
        .next()
        .unwrap();
    let codes: Vec<_> = window
        .answers
        .iter()
        .map(|a| a.as_ref().err().map(|error| error.code))
        .collect();
    let expected = [
        None,
        Some("invalid_utf8"),
        Some(codes::TOO_LONG),
        Some(codes::WRONG_INPUT),
        None,
        None,
    ];
    assert_eq!(codes, expected);
    assert_eq!(window.answers[1].as_ref().err(), Some(&unread));
    let values = |row: usize| &window.answers[row].as_ref().unwrap().values;
    assert_eq!(values(0), values(5));
    assert_ne!(values(0), values(4));

    let message = window.answers[2].as_ref().unwrap_err().to_string();
    for part in ["tokens", &golden.max_tokens.to_string()] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    match model.embed(["fine", long.as_str()]) {
        Err(Error::Row { row: 1, error }) => assert_eq!(error.code, codes::TOO_LONG),
        other => panic!("{other:?}"),
    }
}

/// Damaged weights that give NaN would be written as vectors and found weeks later.
#[test]
fn a_row_that_is_not_finite_is_an_error() {
    let golden = Golden::load("bert-embed");
    let copy = golden.copy();
    let case = golden.cases.iter().find(|case| case.ids.len() > 3).unwrap();
    let weights = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    poison_word(&mut bytes, case.ids[1]);
    std::fs::write(&weights, bytes).unwrap();
    let model = Model::builder(copy.path().to_str().unwrap())
        .load()
        .unwrap();

    let healthy = golden
        .cases
        .iter()
        .find(|c| !c.ids.contains(&case.ids[1]))
        .unwrap();
    let rows = [
        Input::from(case.text.as_str()),
        Input::from(healthy.text.as_str()),
    ];
    let answers = model.predict_batch(&rows, |_| {});
    assert_eq!(answers[0].as_ref().unwrap_err().code, codes::NOT_FINITE);
    assert!(
        matches!(answers[1], Ok(Prediction::Embedding(_))),
        "{:?}",
        answers[1]
    );
}

/// A token that was added to the tokenizer and not to the weights, as happens, would cost every row that
/// shares a batch with one that has it.
#[test]
fn a_row_that_the_network_cannot_take_fails_alone() {
    let golden = Golden::load("bert-embed");
    let copy = golden.copy();
    let path = copy.path().join("tokenizer.json");
    let mut tokenizer: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let beyond = tokenizer["model"]["vocab"].as_object().unwrap().len();
    tokenizer["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "id": beyond, "content": "[EXTRA]", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        }));
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let texts = ["turn on", "the [EXTRA] lights", "what is my balance"];
    let expected = builder(&golden).load().unwrap();
    for threads in [1, 2] {
        let model = Model::builder(copy.path().to_str().unwrap())
            .threads(threads)
            .load()
            .unwrap();
        let answers = model.predict_batch(&texts.map(Input::from), |_| {});
        let error = answers[1].as_ref().unwrap_err();
        assert_eq!(error.code, codes::INTERNAL);
        assert!(error.message.contains("vocabulary"), "{error}");
        for row in [0, 2] {
            let found = answers[row].clone().unwrap();
            assert_eq!(found, expected.predict(texts[row]).unwrap());
        }
        match model.embed(texts) {
            Err(Error::Row { row: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Overwrites one row of the word embeddings with NaN.
fn poison_word(bytes: &mut [u8], id: u32) {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let (_, tensor) = json
        .as_object()
        .unwrap()
        .iter()
        .find(|(name, _)| name.ends_with("word_embeddings.weight"))
        .unwrap();
    let start = tensor["data_offsets"][0].as_u64().unwrap() as usize;
    let end = tensor["data_offsets"][1].as_u64().unwrap() as usize;
    let words = tensor["shape"][0].as_u64().unwrap() as usize;
    let row = (end - start) / words;
    let at = 8 + header + start + id as usize * row;
    // All bits set is NaN in every floating-point format that weights come in.
    bytes[at..at + row].fill(0xff);
}
