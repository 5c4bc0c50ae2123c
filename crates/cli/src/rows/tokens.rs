//! The two kinds of tokens under one roof: a vocabulary of characters, or a model's tokenizer.

use std::borrow::Cow;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use batchwright::{Input, LetterCase, ModelDirectory, codes};
use catalogue::{Network, ResolveOptions};
use text::characters::{CharacterVocabulary, TokenId};
use text::{Encode, Limits, TextError, Tokenizer};

use crate::console::Console;
use crate::download::Download;

/// What turns texts into ids.
pub(super) enum Tokens {
    Characters(Box<CharacterVocabulary>),
    Model(Box<ModelTokens>),
}

/// A model's tokenizer, and what the model's directory says of it.
pub(super) struct ModelTokens {
    tokenizer: Tokenizer,
    letter_case: LetterCase,
}

/// What is wrong with a row that has no tokens.
pub(super) struct NoTokens {
    pub(super) code: &'static str,
    pub(super) why: String,
}

/// Whether a row lost tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    No,
    Yes,
}

impl Tokens {
    /// One more than the greatest id.
    pub(super) fn id_bound(&self) -> usize {
        match self {
            Tokens::Characters(vocabulary) => vocabulary.len(),
            Tokens::Model(model) => model.tokenizer.id_bound(),
        }
    }

    /// The id that fills rows, where there is one.
    pub(super) fn pad(&self) -> Option<u32> {
        match self {
            Tokens::Characters(vocabulary) => Some(vocabulary.pad()),
            Tokens::Model(model) => model.tokenizer.pad_id(),
        }
    }

    /// Refuses a width that leaves no room beside the tokens that are put around every text.
    pub(super) fn check_width(&self, width: usize) -> anyhow::Result<()> {
        let around = match self {
            Tokens::Characters(vocabulary) => vocabulary.special().around(),
            Tokens::Model(model) => {
                let empty = model.tokenizer.encode(&Input::from(""), &encode(None))?;
                empty.ids.len()
            }
        };
        if width <= around {
            bail!(
                "--width is {width}, and the tokens around every text are {around} alone: say --width {} or more",
                around + 1
            );
        }
        Ok(())
    }

    /// Whatever changes the ids changes this.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Tokens::Characters(vocabulary) => {
                let hash = blake3::hash(vocabulary.to_json().as_bytes()).to_hex();
                data::short_hash(&hash).to_owned()
            }
            Tokens::Model(model) => {
                let hash = blake3::Hash::from(model.tokenizer.fingerprint()).to_hex();
                format!(
                    "{} {:?} {}",
                    data::short_hash(&hash),
                    model.letter_case,
                    model.tokenizer.limits().max_tokens
                )
            }
        }
    }

    /// Fills a row of an array, of which `pad` is the padding.
    pub(super) fn fill<T: TokenId>(
        &self,
        text: &str,
        pad: u32,
        row: &mut [T],
    ) -> Result<Cut, NoTokens> {
        match self {
            Tokens::Characters(vocabulary) => Ok(vocabulary.encode(text, row).truncated.into()),
            Tokens::Model(model) => {
                let (ids, cut) = model.ids(text, Some(row.len()))?;
                let (tokens, rest) = row.split_at_mut(ids.len().min(row.len()));
                for (slot, &id) in tokens.iter_mut().zip(&ids) {
                    *slot = T::of(id);
                }
                rest.fill(T::of(pad));
                Ok(cut)
            }
        }
    }

    /// Appends a row's ids, without padding.
    pub(super) fn append(&self, text: &str, ids: &mut Vec<u32>) -> Result<Cut, NoTokens> {
        match self {
            Tokens::Characters(vocabulary) => {
                vocabulary.append(text, ids);
                Ok(Cut::No)
            }
            Tokens::Model(model) => {
                let (found, cut) = model.ids(text, None)?;
                ids.extend(found);
                Ok(cut)
            }
        }
    }
}

impl ModelTokens {
    /// Finds the tokenizer that the words mean; a file or a directory needs no model beside it.
    pub(super) fn find(words: &str, network: Network, console: &Console) -> anyhow::Result<Self> {
        let path = Path::new(words);
        if path.is_file() {
            return Self::alone(path.to_owned());
        }
        if path.is_dir() && !path.join("config.json").is_file() {
            let file = path.join("tokenizer.json");
            if !file.is_file() {
                bail!("{words}: this directory has no tokenizer.json; name the file, or a model");
            }
            return Self::alone(file);
        }
        let options = ResolveOptions {
            network,
            ..ResolveOptions::default()
        };
        let found = catalogue::resolve(words, &options, &Download::new(console)).context(
            "--tokenize takes `characters`, a tokenizer.json, a directory, or a model's name",
        )?;
        // A model that this program cannot run may still have a tokenizer that it can.
        match ModelDirectory::open(&found.directory) {
            Ok(directory) => {
                let limits = Limits {
                    max_tokens: directory.max_tokens(),
                };
                Ok(Self {
                    tokenizer: Tokenizer::from_file(directory.tokenizer_path(), limits)?,
                    letter_case: directory.letter_case(),
                })
            }
            Err(_) => Self::alone(found.directory.join("tokenizer.json")),
        }
    }

    fn alone(path: PathBuf) -> anyhow::Result<Self> {
        let limits = Limits {
            max_tokens: usize::MAX,
        };
        Ok(Self {
            tokenizer: Tokenizer::from_file(path, limits)?,
            letter_case: LetterCase::Kept,
        })
    }

    fn ids(&self, text: &str, width: Option<usize>) -> Result<(Vec<u32>, Cut), NoTokens> {
        let read: Cow<'_, str> = match self.letter_case {
            LetterCase::Kept => text.into(),
            LetterCase::Lowered => text.to_lowercase().into(),
        };
        let input = Input::Text(read.into_owned());
        let encoded = catch_unwind(|| self.tokenizer.encode(&input, &encode(width)));
        let encoded = encoded.unwrap_or_else(|_| {
            // The `tokenizers` crate is large: a bug in it costs this row and no other.
            let why = "the tokenizer panicked; please report this".to_owned();
            Err(TextError::Refused { why })
        });
        match encoded {
            Ok(encoded) => Ok((encoded.ids, encoded.truncated.into())),
            Err(error) => Err(NoTokens {
                code: codes::TOKENIZE,
                why: error.to_string(),
            }),
        }
    }
}

fn encode(width: Option<usize>) -> Encode {
    Encode {
        max_tokens: width,
        ..Encode::default()
    }
}

impl From<bool> for Cut {
    fn from(cut: bool) -> Cut {
        if cut { Cut::Yes } else { Cut::No }
    }
}
