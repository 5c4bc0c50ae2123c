//! From token logits to named spans of the text.
//!
//! The rules are those of `TokenClassificationPipeline` in transformers, so that a model moved here
//! finds the same entities: softmax for each token; tags `B-x` and `I-x`; the label `O` is nothing;
//! a word's tokens are those that the tokenizer says continue it (WordPiece), or, for tokenizers
//! that do not know words, those with no space before them.
//!
//! ```
//! use batchwright_text::TokenSpan;
//! use batchwright_text::entities::{Aggregation, TaggedText, aggregate};
//!
//! let labels = ["O", "B-LOC", "I-LOC"].map(String::from);
//! let word = |start, end, word| TokenSpan { start, end, word: Some(word), special: false };
//! let spans = [word(0, 2, 0), word(3, 6, 1), word(7, 11, 2)];
//! let logits = [9.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 9.0];
//!
//! let text = TaggedText { text: "in New York", spans: &spans, logits: &logits, labels: &labels };
//! let found = aggregate(text, Aggregation::Simple);
//! assert_eq!((found[0].label.as_str(), found[0].text.as_str()), ("LOC", "New York"));
//! ```

use crate::encoded::TokenSpan;

/// A named part of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// The tag without `B-` and `I-`; with them where tokens are not aggregated.
    pub label: String,
    /// The mean probability of the tags of its tokens (or words), 0 to 1.
    pub score: f32,
    /// First character in the text.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
    /// That part of the text, as it is written there.
    pub text: String,
}

/// How tokens become entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Aggregation {
    /// Every token that is not `O` is given by itself, with its full tag.
    None,
    /// Neighbouring tokens with one tag are joined; a `B-` begins another entity.
    #[default]
    Simple,
    /// As `Simple`, over words, each of which has the tag of its first token.
    First,
    /// As `Simple`, over words, each of which has the tag of its surest token.
    Max,
}

/// A token or a word with its tag.
#[derive(Clone, Copy)]
struct Tagged {
    label: usize,
    score: f32,
    start: usize,
    end: usize,
}

/// A text with what the network says of its tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaggedText<'a> {
    /// The text as it was given.
    pub text: &'a str,
    /// One a token, from [`Tokenizer::encode`](crate::Tokenizer::encode) with
    /// [`Offsets::Keep`](crate::Offsets::Keep).
    pub spans: &'a [TokenSpan],
    /// `[tokens][labels]` as the network gives them for all tokens, special ones included.
    pub logits: &'a [f32],
    /// What the logits' columns stand for.
    pub labels: &'a [String],
}

/// Finds the entities of a text. Tokens for which there are no logits are passed over.
#[must_use]
pub fn aggregate(tagged: TaggedText<'_>, how: Aggregation) -> Vec<Entity> {
    let TaggedText {
        text,
        spans,
        logits,
        labels,
    } = tagged;
    if labels.is_empty() {
        return Vec::new();
    }
    let rows = logits.chunks_exact(labels.len()).zip(spans);
    let of_text = rows.filter(|(_, span)| !span.special);
    let tagged: Vec<(Tagged, Option<u32>)> = of_text
        .map(|(row, span)| (tag(row, span), span.word))
        .collect();
    let grouped = match how {
        Aggregation::None => tagged.into_iter().map(|(token, _)| vec![token]).collect(),
        Aggregation::Simple => group(tagged.into_iter().map(|(token, _)| token), labels),
        Aggregation::First | Aggregation::Max => group(words(&tagged, how).into_iter(), labels),
    };
    let slices = Slices::new(text);
    let entities = grouped.iter().filter_map(|members| {
        let (first, last) = (members.first()?, members.last()?);
        let full = labels[first.label].as_str();
        let label = match how {
            Aggregation::None => full,
            // All that follows the first dash, whatever comes before it: so does transformers.
            _ => full.split_once('-').map_or(full, |(_, tag)| tag),
        };
        let score = members.iter().map(|m| m.score).sum::<f32>() / members.len() as f32;
        let (start, end) = (first.start, last.end);
        (label != "O").then(|| Entity {
            label: label.to_owned(),
            score,
            start,
            end,
            text: slices.get(start, end).to_owned(),
        })
    });
    entities.collect()
}

/// The likeliest label of a token and its probability; of equal ones the first.
fn tag(logits: &[f32], span: &TokenSpan) -> Tagged {
    let mut label = 0;
    for (i, value) in logits.iter().enumerate() {
        if *value > logits[label] {
            label = i;
        }
    }
    let sum: f32 = logits
        .iter()
        .map(|value| (value - logits[label]).exp())
        .sum();
    Tagged {
        label,
        score: 1.0 / sum,
        start: span.start,
        end: span.end,
    }
}

/// Joins tokens to words, each with one tag.
fn words(tokens: &[(Tagged, Option<u32>)], how: Aggregation) -> Vec<Tagged> {
    let same_word = |a: &(Tagged, Option<u32>), b: &(Tagged, Option<u32>)| a.1 == b.1;
    let one = |word: &[(Tagged, Option<u32>)]| {
        let (first, last) = (word.first()?.0, word.last()?.0);
        let mut chosen = first;
        if how == Aggregation::Max {
            for (token, _) in word {
                if token.score > chosen.score {
                    chosen = *token;
                }
            }
        }
        Some(Tagged {
            start: first.start,
            end: last.end,
            ..chosen
        })
    };
    tokens.chunk_by(same_word).filter_map(one).collect()
}

/// Joins neighbours whose tags go on.
fn group(tagged: impl Iterator<Item = Tagged>, labels: &[String]) -> Vec<Vec<Tagged>> {
    let mut groups: Vec<Vec<Tagged>> = Vec::new();
    for next in tagged {
        let (begins, tag) = parts(&labels[next.label]);
        match groups.last_mut() {
            Some(open)
                if !begins
                    && open
                        .last()
                        .is_some_and(|last| parts(&labels[last.label]).1 == tag) =>
            {
                open.push(next);
            }
            _ => groups.push(vec![next]),
        }
    }
    groups
}

/// Whether a label begins an entity, and its tag. Labels that are neither `B-` nor `I-` continue.
fn parts(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(tag), _) => (true, tag),
        (None, Some(tag)) => (false, tag),
        (None, None) => (false, label),
    }
}

/// Slices of a text by character; a table is needed only where characters are wider than a byte.
struct Slices<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Slices<'a> {
    fn new(text: &'a str) -> Slices<'a> {
        let starts = match text.is_ascii() {
            true => Vec::new(),
            false => text.char_indices().map(|(at, _)| at).collect(),
        };
        Slices { text, starts }
    }

    fn get(&self, start: usize, end: usize) -> &'a str {
        let byte = |character: usize| match self.starts.is_empty() {
            true => character.min(self.text.len()),
            false => self
                .starts
                .get(character)
                .copied()
                .unwrap_or(self.text.len()),
        };
        self.text.get(byte(start)..byte(end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "LOC", "X-Y-Z"];

    /// `tags` as (label, word); every token is one character of "ábcdefgh".
    fn found(tags: &[(usize, u32)], how: Aggregation) -> Vec<(String, String)> {
        let labels = LABELS.map(String::from);
        let mut logits = vec![0.0; tags.len() * labels.len()];
        let mut spans = Vec::new();
        for (i, (label, word)) in tags.iter().enumerate() {
            logits[i * labels.len() + label] = 3.0 + i as f32;
            spans.push(TokenSpan {
                start: i,
                end: i + 1,
                word: Some(*word),
                special: false,
            });
        }
        let text = TaggedText {
            text: "ábcdefgh",
            spans: &spans,
            logits: &logits,
            labels: &labels,
        };
        let entities = aggregate(text, how);
        entities.into_iter().map(|e| (e.label, e.text)).collect()
    }

    /// Without it entities would be joined, split or named otherwise than with transformers.
    #[test]
    fn tags_are_joined_by_the_rules() {
        use Aggregation::{First, Max, None, Simple};
        type Case<'a> = (&'a [(usize, u32)], Aggregation, &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 9] = [
            (&[], Simple, &[]),
            (&[(0, 0), (0, 1)], Simple, &[]),
            (&[(1, 0), (2, 1), (2, 2)], Simple, &[("PER", "ábc")]),
            (
                &[(1, 0), (1, 1), (2, 2)],
                Simple,
                &[("PER", "á"), ("PER", "bc")],
            ),
            (
                &[(2, 0), (0, 1), (2, 2)],
                Simple,
                &[("PER", "á"), ("PER", "c")],
            ),
            (
                &[(3, 0), (3, 1), (4, 2)],
                Simple,
                &[("LOC", "áb"), ("Y-Z", "c")],
            ),
            (&[(1, 0), (0, 1)], None, &[("B-PER", "á")]),
            (&[(1, 0), (3, 0), (0, 1), (3, 1)], First, &[("PER", "áb")]),
            (&[(1, 0), (3, 0), (0, 1), (3, 1)], Max, &[("LOC", "ábcd")]),
        ];
        let mut table = testing::CaseTable::new("entities are joined as transformers joins them");
        for (tags, how, want) in cases {
            let got = found(tags, how);
            let got: Vec<(&str, &str)> =
                got.iter().map(|(l, t)| (l.as_str(), t.as_str())).collect();
            table.equal(format!("{tags:?} {how:?}"), got.as_slice(), want);
        }
        table.finish();
    }

    /// Without it a network's NaN, or a span beyond the text, would bring the job down.
    #[test]
    fn odd_input_gives_an_answer_and_no_panic() {
        let labels = LABELS.map(String::from);
        let span = TokenSpan {
            start: 5,
            end: 90,
            word: None,
            special: false,
        };
        for text in ["", "abc", "áéíóú"] {
            let sure = TaggedText {
                text,
                spans: &[span],
                logits: &[0.0, 9.0, 0.0, 0.0, 0.0],
                labels: &labels,
            };
            let nan = TaggedText {
                logits: &[f32::NAN; 5],
                ..sure
            };
            assert!(aggregate(nan, Aggregation::Max).len() <= 1);
            assert_eq!(aggregate(sure, Aggregation::Simple)[0].text, "");
            let unnamed = TaggedText {
                labels: &[],
                ..sure
            };
            assert!(aggregate(unnamed, Aggregation::Simple).is_empty());
        }
    }
}
