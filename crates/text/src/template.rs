//! Where a model sets its special tokens.

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper, Token};

use crate::encoded::TokenSpan;
use crate::options::Offsets;

/// The order of special tokens and texts, with the type id of each.
///
/// It is found out by having the file's post-processor arrange two marks. Setting tokens around
/// texts is then a copy, where the library builds seven vectors for each piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    /// Special tokens that it adds.
    pub(crate) added: usize,
    typed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    what: What,
    kind: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Special(u32),
    First,
    Second,
}

/// The tokens of one text, without special tokens, already cut.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part<'a> {
    pub(crate) ids: &'a [u32],
    /// One a token where they were asked for, else none.
    pub(crate) spans: Vec<TokenSpan>,
}

// No vocabulary reaches these ids.
const FIRST: u32 = u32::MAX;
const SECOND: u32 = u32::MAX - 1;

impl Template {
    /// The template for single texts or for pairs.
    pub(crate) fn probe(
        post: Option<&PostProcessorWrapper>,
        arity: Arity,
    ) -> Result<Template, tokenizers::Error> {
        let mark = |id, kind| Encoding::from_tokens(vec![Token::new(id, "x".into(), (0, 1))], kind);
        let second = (arity == Arity::Pair).then(|| mark(SECOND, 1));
        let arranged = match post {
            Some(post) => post.process(mark(FIRST, 0), second, true)?,
            None => Encoding::merge([Some(mark(FIRST, 0)), second].into_iter().flatten(), false),
        };
        let pieces: Vec<Piece> = arranged
            .get_ids()
            .iter()
            .zip(arranged.get_type_ids())
            .map(|(id, kind)| Piece {
                what: match *id {
                    FIRST => What::First,
                    SECOND => What::Second,
                    id => What::Special(id),
                },
                // Type ids of text models are 0 and 1; no file holds more than a handful.
                kind: u8::try_from(*kind).unwrap_or(u8::MAX),
            })
            .collect();
        let added = pieces
            .iter()
            .filter(|p| matches!(p.what, What::Special(_)))
            .count();
        Ok(Template {
            added,
            typed: pieces.iter().any(|piece| piece.kind > 0),
            pieces,
        })
    }

    /// Sets the special tokens around the texts: ids, type ids (empty if all are zero), spans if
    /// they are wanted.
    pub(crate) fn arrange(
        &self,
        first: &Part<'_>,
        second: Option<&Part<'_>>,
        offsets: Offsets,
    ) -> (Vec<u32>, Vec<u8>, Option<Vec<TokenSpan>>) {
        let nothing = Part::default();
        let second = second.unwrap_or(&nothing);
        let tokens = first.ids.len() + second.ids.len() + self.added;
        let mut ids = Vec::with_capacity(tokens);
        let mut types = Vec::with_capacity(if self.typed { tokens } else { 0 });
        let mut spans = (offsets == Offsets::Keep).then(|| Vec::with_capacity(tokens));
        let mut span = |of: &[TokenSpan]| {
            if let Some(spans) = &mut spans {
                spans.extend_from_slice(of);
            }
        };
        for piece in &self.pieces {
            match piece.what {
                What::Special(id) => {
                    ids.push(id);
                    span(&[TokenSpan::SPECIAL]);
                }
                What::First => {
                    ids.extend_from_slice(first.ids);
                    span(&first.spans);
                }
                What::Second => {
                    ids.extend_from_slice(second.ids);
                    span(&second.spans);
                }
            }
            if self.typed {
                types.resize(ids.len(), piece.kind);
            }
        }
        if types.iter().all(|kind| *kind == 0) {
            types.clear();
        }
        (ids, types, spans)
    }
}

/// How many texts are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    Single,
    Pair,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::processors::bert::BertProcessing;
    use tokenizers::processors::roberta::RobertaProcessing;

    fn part(ids: &[u32]) -> Part<'_> {
        Part {
            ids,
            spans: Vec::new(),
        }
    }

    /// Without it a pair would reach the network with its separators or types in the wrong places.
    #[test]
    fn special_tokens_stand_where_the_file_says() {
        let bert: PostProcessorWrapper =
            BertProcessing::new(("[SEP]".into(), 3), ("[CLS]".into(), 2)).into();
        let roberta: PostProcessorWrapper =
            RobertaProcessing::new(("</s>".into(), 3), ("<s>".into(), 2)).into();
        let cases = [
            ("bert", Some(&bert), Arity::Single, vec![2, 7, 8, 3], vec![]),
            (
                "bert",
                Some(&bert),
                Arity::Pair,
                vec![2, 7, 8, 3, 9, 3],
                vec![0, 0, 0, 0, 1, 1],
            ),
            (
                "roberta",
                Some(&roberta),
                Arity::Pair,
                vec![2, 7, 8, 3, 3, 9, 3],
                vec![],
            ),
            ("none", None, Arity::Single, vec![7, 8], vec![]),
            ("none", None, Arity::Pair, vec![7, 8, 9], vec![0, 0, 1]),
        ];
        let mut table = testing::CaseTable::new("special tokens and types stand as in the file");
        for (name, post, arity, ids, types) in cases {
            let template = Template::probe(post, arity).unwrap();
            let second = (arity == Arity::Pair).then(|| part(&[9]));
            let got = template.arrange(&part(&[7, 8]), second.as_ref(), Offsets::Skip);
            table.equal(format!("{name} {arity:?}"), &(got.0, got.1), &(ids, types));
        }
        table.finish();
    }
}
