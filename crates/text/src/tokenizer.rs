//! A model's tokenizer: from text to ids.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tokenizers::models::ModelWrapper;
use tokenizers::{Encoding, PostProcessor, PostProcessorWrapper};

use crate::encoded::{Encoded, TokenSpan};
use crate::error::{TextError, TokenCount};
use crate::input::Input;
use crate::locality::Locality;
use crate::options::{Encode, Limits, Offsets, OnLong, Truncate};
use crate::template::{Arity, Part, Template};
use crate::truncate::{kept, longest_first, odd_token_matters};
use crate::window::{first_size, window};
use crate::words::Words;

/// A model's tokenizer. Shared by reference between threads.
pub struct Tokenizer {
    /// Without padding, truncation and post-processor: it gives the bare tokens of one text.
    inner: tokenizers::Tokenizer,
    post: Option<PostProcessorWrapper>,
    single: Template,
    pair: Template,
    words: Words,
    locality: Locality,
    limits: Limits,
    fingerprint: [u8; 32],
}

/// The tokens of one text, before special tokens.
struct Bare {
    encoding: Encoding,
    /// The tokens in `encoding` that are those of the whole text.
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
            limits,
            fingerprint: *blake3::hash(&bytes).as_bytes(),
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
        let first = self.part(&first, bare, keep_first, how)?;
        let second = match (second, other) {
            (Some(job), Some(bare)) => Some(self.part(&job, bare, keep_second, how)?),
            _ => None,
        };
        let (ids, types, spans) = template.arrange(&first, second.as_ref());
        let offsets = (how.offsets == Offsets::Keep).then_some(spans);
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

    /// How many different ids there are, added tokens included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
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
            let (encoding, safe) = match how.offsets {
                Offsets::Skip => {
                    let start = window.bytes.start;
                    let safe = window.safe.start - start..window.safe.end - start;
                    (self.inner.encode(part, false), safe)
                }
                Offsets::Keep => {
                    let characters = |from: usize, to: usize| {
                        let bytes = &job.text.as_bytes()[from..to];
                        // Bytes that begin a character.
                        bytes.iter().filter(|byte| (**byte as i8) >= -0x40).count()
                    };
                    let start = characters(window.bytes.start, window.safe.start);
                    let safe = start..start + characters(window.safe.start, window.safe.end);
                    (self.inner.encode_char_offsets(part, false), safe)
                }
            };
            let encoding = encoding.map_err(refused)?;
            let offsets = encoding.get_offsets();
            let sure = match how.truncate {
                Truncate::Right => 0..offsets.iter().take_while(|o| o.1 <= safe.end).count(),
                Truncate::Left => {
                    let trusted = offsets
                        .iter()
                        .rev()
                        .take_while(|o| o.0 >= safe.start)
                        .count();
                    offsets.len() - trusted..offsets.len()
                }
            };
            if sure.len() > room {
                let skipped = match how.offsets {
                    Offsets::Skip => 0,
                    Offsets::Keep => job.text[..window.bytes.start].chars().count(),
                };
                return Ok(Bare {
                    encoding,
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
        let encoding = match offsets {
            Offsets::Skip => self.inner.encode_fast(&*job.text, false),
            Offsets::Keep => self.inner.encode_char_offsets(&*job.text, false),
        };
        let encoding = encoding.map_err(refused)?;
        Ok(Bare {
            sure: 0..encoding.len(),
            encoding,
            whole: true,
            skipped: 0,
        })
    }

    /// Cuts a text's tokens down to `keep`, and finds where they stand.
    fn part(
        &self,
        job: &Job<'_>,
        bare: Bare,
        keep: usize,
        how: &Encode,
    ) -> Result<Part, TextError> {
        let chosen = kept(bare.sure.len(), keep, how.truncate);
        let range = bare.sure.start + chosen.start..bare.sure.start + chosen.end;
        let ids = bare.encoding.get_ids()[range.clone()].to_vec();
        if how.offsets == Offsets::Skip {
            return Ok(Part {
                ids,
                spans: Vec::new(),
            });
        }
        let mut encoding = slice(&bare.encoding, range);
        if let Some(post) = &self.post {
            // Byte-level tokenizers take the space before a word off its offsets here.
            encoding = post.process(encoding, None, false).map_err(refused)?;
        }
        let spans = self.spans(job, &encoding, bare.skipped);
        Ok(Part { ids, spans })
    }

    fn spans(&self, job: &Job<'_>, encoding: &Encoding, skipped: usize) -> Vec<TokenSpan> {
        let mut word = 0;
        let mut spans = Vec::with_capacity(encoding.len());
        let spaces = self.words.spaces(&job.text);
        for (i, &(start, end)) in encoding.get_offsets().iter().enumerate() {
            let (start, end) = (start + skipped, end + skipped);
            let token = (encoding.get_ids()[i], encoding.get_tokens()[i].as_str());
            if i > 0 && !self.words.continues(token, start..end, &spaces) {
                word += 1;
            }
            let special = end <= job.prompt && start < job.prompt;
            spans.push(TokenSpan {
                start: start.saturating_sub(job.prompt),
                end: end.saturating_sub(job.prompt),
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

fn refused(error: tokenizers::Error) -> TextError {
    TextError::Refused {
        why: error.to_string(),
    }
}
