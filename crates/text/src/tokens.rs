//! The bare tokens of one text, before special tokens, and where they stand.

use std::ops::Range;

use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

/// What places in a text are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Characters,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Characters that the vocabulary spells the token with, `##` counted: what tells a continuation
    /// from the beginning of a word.
    pub(crate) written: usize,
}

/// The tokens of a text or of a part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    /// One a token where they were asked for, else none.
    pub(crate) places: Vec<Place>,
    /// The library's answer where it gave it: its post-processor may have a word on the places.
    encoding: Option<Encoding>,
}

impl Tokens {
    /// Tokens whose places no post-processor would move.
    pub(crate) fn new(ids: Vec<u32>, places: Vec<Place>) -> Tokens {
        Tokens {
            ids,
            places,
            encoding: None,
        }
    }

    /// Tokens as the library has them. Without `places` it kept none, and they would all read 0.
    pub(crate) fn of(encoding: Encoding, places: Option<Unit>) -> Tokens {
        match places {
            None => Tokens::new(encoding.get_ids().to_vec(), Vec::new()),
            Some(_) => Tokens {
                ids: encoding.get_ids().to_vec(),
                places: self::places(&encoding),
                encoding: Some(encoding),
            },
        }
    }

    /// Where some of the tokens stand, as the post-processor sees it: byte-level ones take the space
    /// before a word off it, and treat the first token kept as the first of all.
    pub(crate) fn processed(
        &self,
        kept: Range<usize>,
        post: Option<&PostProcessorWrapper>,
    ) -> Result<Vec<Place>, tokenizers::Error> {
        match (&self.encoding, post) {
            (Some(encoding), Some(post)) => {
                let processed = post.process(slice(encoding, kept), None, false)?;
                Ok(places(&processed))
            }
            _ => Ok(self.places[kept].to_vec()),
        }
    }
}

fn places(encoding: &Encoding) -> Vec<Place> {
    let offsets = encoding.get_offsets().iter();
    let places = offsets.zip(encoding.get_tokens());
    places
        .map(|(&(start, end), token)| Place {
            start,
            end,
            written: token.chars().count(),
        })
        .collect()
}

/// Some of an encoding's tokens. The library's own truncation also keeps all that is cut off.
fn slice(encoding: &Encoding, range: Range<usize>) -> Encoding {
    Encoding::new(
        encoding.get_ids()[range.clone()].to_vec(),
        encoding.get_type_ids()[range.clone()].to_vec(),
        encoding.get_tokens()[range.clone()].to_vec(),
        encoding.get_word_ids()[range.clone()].to_vec(),
        encoding.get_offsets()[range.clone()].to_vec(),
        encoding.get_special_tokens_mask()[range.clone()].to_vec(),
        encoding.get_attention_mask()[range].to_vec(),
        Vec::new(),
        Default::default(),
    )
}
