//! Equality with transformers on the tiny models.

use batchwright_text::entities::{Aggregation, Entity, TaggedText, aggregate};
use batchwright_text::{Encode, Encoded, Input, Offsets, Truncate};
use testing::golden::{self, Case, Golden, Side};
use testing::{CaseTable, Tolerance};

use crate::tokenizer;

fn input(case: &Case) -> Input {
    match &case.pair {
        Some(pair) => Input::Pair(case.text.clone(), pair.clone()),
        None => Input::Text(case.text.clone()),
    }
}

fn options(case: &Case, offsets: Offsets) -> Encode {
    Encode {
        truncate: match case.truncate {
            Side::Right => Truncate::Right,
            Side::Left => Truncate::Left,
        },
        max_tokens: Some(case.max_tokens),
        prompt: Some(case.prompt.clone()),
        offsets,
        ..Encode::default()
    }
}

fn every_case(mut check: impl FnMut(String, &Golden, &Case, [Encoded; 2])) {
    for model in golden::all() {
        let tokenizer = tokenizer(&model);
        for case in &model.cases {
            let encoded = [Offsets::Skip, Offsets::Keep].map(|offsets| {
                tokenizer
                    .encode(&input(case), &options(case, offsets))
                    .unwrap()
            });
            check(
                format!("{} / {}", model.name, case.name),
                &model,
                case,
                encoded,
            );
        }
    }
}

/// Without it the network would read another text than the one it was trained to read.
#[test]
fn tokens_and_types_equal_transformers() {
    let mut table = CaseTable::new("tokens and type ids equal transformers'");
    every_case(|name, model, case, [plain, spans]| {
        table.equal(&name, &plain.ids, &case.ids);
        table.equal(&name, &spans.ids, &case.ids);
        // DistilBERT has no types; its file gives them, and its network passes them over.
        if model.family != "distilbert" {
            table.equal(&name, &plain.types, &case.types);
            table.equal(&name, &spans.types, &case.types);
        }
    });
    table.finish();
}

/// Without it a user could not tell which answers rest on a part of the text alone.
#[test]
fn truncation_is_reported_where_it_happened() {
    let mut table = CaseTable::new("a cut text is marked as cut");
    every_case(|name, _, case, [plain, _]| {
        let long = case.name.contains("long") || case.name == "endless word";
        let full = case.ids.len() == case.max_tokens;
        table.check(
            &name,
            (!plain.truncated || full)
                .then_some(())
                .ok_or("cut with room left".into()),
        );
        // The endless word is one unknown token to WordPiece.
        if long && case.name != "endless word" {
            table.equal(&name, &plain.truncated, &true);
        }
        if case.name == "empty" {
            table.equal(&name, &plain.truncated, &false);
        }
    });
    table.finish();
}

/// Without it entities would point at other characters than those they were found in.
#[test]
fn offsets_equal_transformers_in_characters() {
    let mut table = CaseTable::new("token offsets equal transformers', less the prompt");
    every_case(|name, _, case, [_, spans]| {
        if case.offsets.is_empty() {
            return;
        }
        let prompt = case.prompt.chars().count();
        let got = spans.offsets.unwrap();
        let places: Vec<(usize, usize)> = got.iter().map(|s| (s.start, s.end)).collect();
        let want: Vec<(usize, usize)> = case
            .offsets
            .iter()
            .map(|(start, end)| (start.saturating_sub(prompt), end.saturating_sub(prompt)))
            .collect();
        table.equal(&name, &places, &want);
        if prompt == 0 {
            let special: Vec<u8> = got.iter().map(|s| u8::from(s.special)).collect();
            table.equal(&name, &special, &case.special);
        }
    });
    table.finish();
}

/// Without it a model moved from transformers would find other names in the same text.
#[test]
fn entities_equal_transformers_pipeline() {
    let mut table = CaseTable::new("entities equal transformers' pipeline");
    let near = Tolerance {
        absolute: 2e-6,
        relative: 0.0,
    };
    for model in golden::all().iter().filter(|model| model.task == "tag") {
        let tokenizer = tokenizer(model);
        for case in &model.cases {
            let logits = model.answer(case);
            let encoded = tokenizer
                .encode(&input(case), &options(case, Offsets::Keep))
                .unwrap();
            let spans = encoded.offsets.unwrap();
            let wanted = case.entities.as_ref().unwrap();
            let strategies = [
                (Aggregation::None, &wanted.none),
                (Aggregation::Simple, &wanted.simple),
                (Aggregation::First, &wanted.first),
                (Aggregation::Max, &wanted.max),
            ];
            for (how, want) in strategies {
                let tagged = TaggedText {
                    text: &case.text,
                    spans: &spans,
                    logits: &logits,
                    labels: &model.labels,
                };
                let got = aggregate(tagged, how);
                let name = format!("{} / {} / {how:?}", model.name, case.name);
                let place = |e: &Entity| (e.label.clone(), e.start, e.end);
                let places: Vec<_> = got.iter().map(place).collect();
                let want_places: Vec<_> = want.iter().map(|e| (e.0.clone(), e.2, e.3)).collect();
                table.equal(&name, &places, &want_places);
                let scores: Vec<f32> = got.iter().map(|e| e.score).collect();
                let want_scores: Vec<f32> = want.iter().map(|e| e.1).collect();
                table.close(&name, &scores, &want_scores, near);
                for entity in &got {
                    let slice: String = case
                        .text
                        .chars()
                        .skip(entity.start)
                        .take(entity.end - entity.start)
                        .collect();
                    table.equal(&name, &entity.text, &slice);
                }
            }
        }
    }
    table.finish();
}

/// Without it tokens of the prompt would be reported as names found in the text.
#[test]
fn offsets_leave_the_prompt_out() {
    let model = Golden::load("bert-tag");
    let tokenizer = tokenizer(&model);
    let text = "Anna Keller in Berlin";
    let encode = |prompt: &str| {
        let how = Encode {
            prompt: Some(prompt.into()),
            offsets: Offsets::Keep,
            ..Encode::default()
        };
        let encoded = tokenizer.encode(&Input::from(text), &how).unwrap();
        let spans = encoded.offsets.unwrap();
        spans
            .iter()
            .filter(|s| !s.special)
            .map(|s| (s.start, s.end))
            .collect::<Vec<_>>()
    };
    assert_eq!(encode("wähle: "), encode(""));
}

/// Without it an overridden file would still cut at its own length, as MiniLM's does at 128.
#[test]
fn padding_and_truncation_of_the_file_are_overridden() {
    let model = Golden::load("bert-embed");
    let file = std::fs::read_to_string(model.directory.join("tokenizer.json")).unwrap();
    assert!(
        file.contains("\"max_length\":7") && file.contains("\"Fixed\":9"),
        "a file without both"
    );
    let tokenizer = tokenizer(&model);
    let short = tokenizer
        .encode(&Input::from("hello"), &Encode::default())
        .unwrap();
    let long = tokenizer.encode(
        &Input::from(model.case("long").text.as_str()),
        &Encode::default(),
    );
    assert!(short.ids.len() < 9 && long.unwrap().ids.len() == model.max_tokens);
}
