//! What must hold for any text at all.

use batchwright_text::entities::{Aggregation, TaggedText, aggregate};
use batchwright_text::{Encode, Input, Offsets, Tokenizer, Truncate};
use proptest::prelude::*;
use std::sync::LazyLock;
use testing::golden::{self, Golden};

static MODELS: LazyLock<Vec<(Golden, Tokenizer)>> = LazyLock::new(|| {
    let models = golden::all()
        .into_iter()
        .filter(|model| model.task == "tag");
    models
        .map(|model| (model.clone(), crate::tokenizer(&model)))
        .collect()
});

/// Letters that the vocabularies know, and whatever Unicode has.
fn text() -> impl Strategy<Value = String> {
    let known = "[a-zA-Z '.,\\n]{0,40}";
    let special = prop_oneof![
        Just("[SEP]"),
        Just("<mask>"),
        Just("</s>"),
        Just("\u{301}"),
        Just("\0")
    ];
    prop_oneof![
        known.prop_map(String::from),
        any::<String>(),
        (known, any::<String>(), special, ".{0,60}")
            .prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Without it some row of a million would bring the job down, or an entity point outside its text.
    #[test]
    fn any_text_gives_tokens_within_limit_and_bounds(text in text(), prompt in text(), left: bool, max in 2usize..50) {
        let truncate = if left { Truncate::Left } else { Truncate::Right };
        let characters = text.chars().count();
        for (model, tokenizer) in MODELS.iter() {
            let how = Encode {
                truncate,
                max_tokens: Some(max),
                prompt: Some(prompt.clone()),
                offsets: Offsets::Keep,
                ..Encode::default()
            };
            let encoded = tokenizer.encode(&Input::from(&text), &how).unwrap();
            let spans = encoded.offsets.as_deref().unwrap();
            prop_assert!(encoded.ids.len() <= max.min(model.max_tokens) && spans.len() == encoded.ids.len());
            prop_assert!(encoded.types.is_empty());
            prop_assert!(encoded.ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
            let mut word = 0;
            for span in spans.iter().filter(|span| !span.special) {
                prop_assert!(span.start <= span.end && span.end <= characters, "{span:?} of {characters}");
                prop_assert!(span.word.unwrap() >= word);
                word = span.word.unwrap();
            }
            let labels = ["O".to_owned(), "B-X".to_owned()];
            let logits: Vec<f32> = (0..spans.len() * 2).map(|i| (i * 7 % 5) as f32).collect();
            for how in [Aggregation::None, Aggregation::Simple, Aggregation::First, Aggregation::Max] {
                let tagged = TaggedText { text: &text, spans, logits: &logits, labels: &labels };
                for entity in aggregate(tagged, how) {
                    prop_assert!(entity.score > 0.0 && entity.score <= 1.0 && entity.end <= characters);
                }
            }
            // Where offsets are not asked for, the tokens are the same.
            let plain = tokenizer.encode(&Input::from(&text), &Encode { offsets: Offsets::Skip, ..how.clone() }).unwrap();
            prop_assert_eq!(plain.ids, encoded.ids);
        }
    }

    /// Without it a pair could exceed the model's positions, which the network must refuse.
    #[test]
    fn any_pair_stays_within_the_limit(first in text(), second in text(), max in 4usize..40) {
        for (model, tokenizer) in MODELS.iter() {
            let how = Encode { max_tokens: Some(max), ..Encode::default() };
            let encoded = tokenizer.encode(&Input::from((&*first, &*second)), &how).unwrap();
            prop_assert!(encoded.ids.len() <= max.min(model.max_tokens));
            prop_assert!(encoded.types.is_empty() || encoded.types.len() == encoded.ids.len());
            prop_assert_eq!(encoded.truncated, {
                let all = tokenizer.encode(&Input::from((&*first, &*second)), &Encode::default()).unwrap();
                all.truncated || all.ids.len() > max
            });
        }
    }
}

/// Without it rows tokenised on several threads could differ from those tokenised on one.
#[test]
fn many_threads_share_one_tokenizer() {
    let texts: Vec<Input> = golden::minilm_64().0.into_iter().map(Input::from).collect();
    for (model, tokenizer) in MODELS.iter() {
        let alone: Vec<_> = texts
            .iter()
            .map(|t| tokenizer.encode(t, &Encode::default()))
            .collect();
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        texts
                            .iter()
                            .map(|t| tokenizer.encode(t, &Encode::default()))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            for worker in workers {
                assert_eq!(worker.join().unwrap(), alone, "{}", model.name);
            }
        });
    }
}
