//! A model's tokenizer: from text to ids.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::PostProcessorWrapper;
use tokenizers::models::ModelWrapper;

use crate::encoded::{Encoded, TokenSpan};
use crate::error::{TextError, TokenCount};
use crate::input::Input;
use crate::locality::Locality;
use crate::options::{Encode, Limits, Offsets, OnLong, Truncate};
use crate::template::{Arity, Part, Template};
use crate::tokens::{Place, Tokens, Unit};
use crate::truncate::{kept, longest_first, odd_token_matters};
use crate::window::{first_size, window};
use crate::wordpiece::WordPiece;
use crate::words::Words;

/// A model's tokenizer. Shared by reference between threads.
pub struct Tokenizer {
    /// Without padding, truncation and post-processor: it gives the bare tokens of one text.
    inner: tokenizers::Tokenizer,
    /// The same tokens sooner, where the file and the text are of the usual kind.
    wordpiece: Option<WordPiece>,
    post: Option<PostProcessorWrapper>,
    single: Template,
    pair: Template,
    words: Words,
    locality: Locality,
    limits: Limits,
    fingerprint: [u8; 32],
    pad: Option<u32>,
}

/// The tokens of one text, before special tokens.
struct Bare {
    tokens: Tokens,
    /// The tokens that are those of the whole text.
    sure: Range<usize>,
    /// Whether that is all of them.
    whole: bool,
    /// Characters of the text before the part that was tokenised.
    skipped: usize,
}

/// One text to tokenise.
struct Job<'a> {
    /// Prompt and text.
    text: Cow<'a, str>,
    /// Characters of the prompt.
    prompt: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its padding and truncation are overridden.
    ///
    /// # Errors
    /// [`TextError::Unreadable`] and [`TextError::Malformed`].
    pub fn from_file(path: impl AsRef<Path>, limits: Limits) -> Result<Tokenizer, TextError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| TextError::Unreadable {
            path: path.to_owned(),
            why: e.to_string(),
        })?;
        let malformed = |path: &Path| {
            let path: PathBuf = path.to_owned();
            move |e: tokenizers::Error| TextError::Malformed {
                path,
                why: e.to_string(),
            }
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes).map_err(malformed(path))?;
        let pad = padding(&inner);
        inner
            .with_padding(None)
            .with_truncation(None)
            .map_err(malformed(path))?;
        let post = inner.get_post_processor().cloned();
        inner.with_post_processor(None::<PostProcessorWrapper>);
        let without_dropout = match inner.get_model() {
            // Dropout is for training: it would give a text other tokens each time.
            ModelWrapper::BPE(bpe) if bpe.dropout.is_some() => {
                let mut bpe = bpe.clone();
                bpe.dropout = None;
                Some(bpe)
            }
            _ => None,
        };
        if let Some(bpe) = without_dropout {
            inner.with_model(bpe);
        }
        let normalizer = inner
            .get_normalizer()
            .and_then(|n| serde_json::to_value(n).ok());
        let splitter = inner
            .get_pre_tokenizer()
            .and_then(|p| serde_json::to_value(p).ok());
        Ok(Tokenizer {
            single: Template::probe(post.as_ref(), Arity::Single).map_err(malformed(path))?,
            pair: Template::probe(post.as_ref(), Arity::Pair).map_err(malformed(path))?,
            words: Words::of(&inner),
            locality: Locality::of(normalizer.as_ref(), splitter.as_ref()),
            wordpiece: WordPiece::of(&inner, post.as_ref(), &bytes),
            limits,
            fingerprint: *blake3::hash(&bytes).as_bytes(),
            pad,
            inner,
            post,
        })
    }

    /// Tokens of a text or pair, special tokens included.
    ///
    /// # Errors
    /// [`TextError::TooLong`] with [`OnLong::Error`]; [`TextError::LimitTooLow`];
    /// [`TextError::Refused`] where the tokenizer itself fails.
    pub fn encode(&self, input: &Input, how: &Encode) -> Result<Encoded, TextError> {
        let limit = how
            .max_tokens
            .unwrap_or(usize::MAX)
            .min(self.limits.max_tokens);
        let template = if input.pair().is_some() {
            &self.pair
        } else {
            &self.single
        };
        let added = template.added;
        let low = TextError::LimitTooLow {
            limit,
            needed: added,
        };
        let room = limit.checked_sub(added).ok_or(low)?;

        let first = Job::new(input.text(), how.prompt.as_deref());
        let second = input.pair().map(|text| Job::new(text, None));
        let mut bare = self.bare(&first, room, how)?;
        let mut other = second
            .as_ref()
            .map(|job| self.bare(job, room, how))
            .transpose()?;

        let lengths = |bare: &Bare, other: &Option<Bare>| {
            (
                bare.sure.len(),
                other.as_ref().map_or(0, |bare| bare.sure.len()),
            )
        };
        let (n, m) = lengths(&bare, &other);
        let whole = bare.whole && other.as_ref().is_none_or(|bare| bare.whole);
        if how.on_long == OnLong::Error && n + m > room {
            let count = if whole {
                TokenCount::Exactly
            } else {
                TokenCount::AtLeast
            };
            return Err(TextError::TooLong {
                tokens: count(n + m + added),
                limit,
            });
        }
        if let (Some(job), Some(_), false) = (&second, &other, whole)
            && odd_token_matters(n, m, room)
        {
            // Which text is the longer is only known from all of both.
            bare = self.all_of(&first, how.offsets)?;
            other = Some(self.all_of(job, how.offsets)?);
        }
        let (n, m) = lengths(&bare, &other);
        let (keep_first, keep_second) = longest_first(n, m, room);

        let truncated = keep_first < n || keep_second < m;
        let first = self.part(&first, &bare, keep_first, how)?;
        let second = match (&second, &other) {
            (Some(job), Some(bare)) => Some(self.part(job, bare, keep_second, how)?),
            _ => None,
        };
        let (ids, types, offsets) = template.arrange(&first, second.as_ref(), how.offsets);
        Ok(Encoded {
            ids,
            types,
            offsets,
            truncated,
        })
    }

    /// A hash of the file: whatever changes the tokens changes it.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The token with this id, as the vocabulary writes it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of padding: the file's own, else that of `[PAD]` or `<pad>`; `None` where it has neither.
    #[must_use]
    pub fn pad_id(&self) -> Option<u32> {
        self.pad
    }

    /// How many different ids there are, added tokens included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// One more than the greatest id; more than there are ids where some are left out.
    #[must_use]
    pub fn id_bound(&self) -> usize {
        let vocabulary = self.inner.get_vocab(true);
        vocabulary.values().max().map_or(0, |id| *id as usize + 1)
    }

    /// The model's limit.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Tokens of one text: all of them, or at least `room + 1` of the end that is kept.
    fn bare(&self, job: &Job<'_>, room: usize, how: &Encode) -> Result<Bare, TextError> {
        let mut size = first_size(room);
        while self.locality == Locality::Words
            && let Some(window) = window(&job.text, size, how.truncate)
        {
            let part = &job.text[window.bytes.clone()];
            // Offsets in bytes say which tokens to believe; where characters are wanted, the limits
            // of belief are counted in characters instead.
            let start = window.bytes.start;
            let (unit, safe) = match how.offsets {
                Offsets::Skip => {
                    let safe = window.safe.start - start..window.safe.end - start;
                    (Unit::Bytes, safe)
                }
                Offsets::Keep => {
                    let characters = |from: usize, to: usize| {
                        let bytes = &job.text.as_bytes()[from..to];
                        // Bytes that begin a character.
                        bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
                    };
                    let first = characters(start, window.safe.start);
                    let safe = first..first + characters(window.safe.start, window.safe.end);
                    (Unit::Characters, safe)
                }
            };
            let tokens = self.tokens(part, Some(unit))?;
            let places = tokens.places.iter();
            let sure = match how.truncate {
                Truncate::Right => 0..places.take_while(|p| p.end <= safe.end).count(),
                Truncate::Left => {
                    let trusted = places.rev().take_while(|p| p.start >= safe.start).count();
                    tokens.ids.len() - trusted..tokens.ids.len()
                }
            };
            if sure.len() > room {
                let skipped = match how.offsets {
                    Offsets::Skip => 0,
                    Offsets::Keep => job.text[..window.bytes.start].chars().count(),
                };
                return Ok(Bare {
                    tokens,
                    sure,
                    whole: false,
                    skipped,
                });
            }
            size = size.saturating_mul(4);
        }
        self.all_of(job, how.offsets)
    }

    /// All tokens of one text.
    fn all_of(&self, job: &Job<'_>, offsets: Offsets) -> Result<Bare, TextError> {
        let places = (offsets == Offsets::Keep).then_some(Unit::Characters);
        let tokens = self.tokens(&job.text, places)?;
        Ok(Bare {
            sure: 0..tokens.ids.len(),
            tokens,
            whole: true,
            skipped: 0,
        })
    }

    /// Tokens of a text or of a part of one, and where they stand if that is wanted.
    fn tokens(&self, text: &str, places: Option<Unit>) -> Result<Tokens, TextError> {
        if let Some(wordpiece) = &self.wordpiece
            && let Some(tokens) = wordpiece.tokens(text, places)
        {
            return Ok(tokens);
        }
        let encoding = match places {
            None => self.inner.encode_fast(text, false),
            Some(Unit::Bytes) => self.inner.encode(text, false),
            Some(Unit::Characters) => self.inner.encode_char_offsets(text, false),
        };
        Ok(Tokens::of(encoding.map_err(refused)?, places))
    }

    /// Cuts a text's tokens down to `keep`, and finds where they stand.
    fn part<'b>(
        &self,
        job: &Job<'_>,
        bare: &'b Bare,
        keep: usize,
        how: &Encode,
    ) -> Result<Part<'b>, TextError> {
        let chosen = kept(bare.sure.len(), keep, how.truncate);
        let range = bare.sure.start + chosen.start..bare.sure.start + chosen.end;
        let ids = &bare.tokens.ids[range.clone()];
        let spans = match how.offsets {
            Offsets::Skip => Vec::new(),
            Offsets::Keep => {
                let places = bare.tokens.processed(range, self.post.as_ref());
                self.spans(job, ids, &places.map_err(refused)?, bare.skipped)
            }
        };
        Ok(Part { ids, spans })
    }

    fn spans(
        &self,
        job: &Job<'_>,
        ids: &[u32],
        places: &[Place],
        skipped: usize,
    ) -> Vec<TokenSpan> {
        let mut word = 0;
        let mut spans = Vec::with_capacity(ids.len());
        let spaces = self.words.spaces(&job.text);
        for (i, (&id, place)) in ids.iter().zip(places).enumerate() {
            let place = Place {
                start: place.start + skipped,
                end: place.end + skipped,
                ..*place
            };
            if i > 0 && !self.words.continues(id, place, &spaces) {
                word += 1;
            }
            let special = place.end <= job.prompt && place.start < job.prompt;
            spans.push(TokenSpan {
                start: place.start.saturating_sub(job.prompt),
                end: place.end.saturating_sub(job.prompt),
                word: (!special).then_some(word),
                special,
            });
        }
        spans
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Tokenizer");
        out.field("vocab_size", &self.vocab_size())
            .field("limits", &self.limits);
        out.finish_non_exhaustive()
    }
}

impl<'a> Job<'a> {
    fn new(text: &'a str, prompt: Option<&str>) -> Job<'a> {
        match prompt.filter(|prompt| !prompt.is_empty()) {
            Some(prompt) => Job {
                text: format!("{prompt}{text}").into(),
                prompt: prompt.chars().count(),
            },
            None => Job {
                text: text.into(),
                prompt: 0,
            },
        }
    }
}

fn padding(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    let own = tokenizer.get_padding().map(|padding| padding.pad_id);
    own.or_else(|| {
        let names = ["[PAD]", "<pad>", "<PAD>"];
        names.iter().find_map(|name| tokenizer.token_to_id(name))
    })
}

fn refused(error: tokenizers::Error) -> TextError {
    TextError::Refused {
        why: error.to_string(),
    }
}
