//! Tokenising for transformer models: encoding, truncation, prompts, character offsets, entities; and
//! editing texts at random, for training on them ([`augment`]).
//!
//! What it is: a Hugging Face `tokenizer.json` (read by the `tokenizers` crate) behind an interface
//! that gives what an encoder needs, token for token as transformers does: ids and type ids, cut to
//! the model's limit at either end, pairs cut longest first, never padded; and on request where each
//! token stands in the text, in characters. And the way back for token classification: logits to
//! named spans of the text ([`entities`]). Besides, characters as tokens ([`characters`]), for models that
//! are trained on them.
//!
//! What it is not: a trainer of tokenizers, or a decoder from ids to text; it knows no network, and
//! it starts no threads. A [`Tokenizer`] is shared by reference between as many as there are.
//!
//! ```no_run
//! use batchwright_text::{Encode, Input, Limits, Tokenizer};
//!
//! let tokenizer = Tokenizer::from_file("model/tokenizer.json", Limits { max_tokens: 256 })?;
//! let encoded = tokenizer.encode(&Input::from("turn on the lights"), &Encode::default())?;
//! assert!(encoded.ids.len() <= 256 && !encoded.truncated);
//! # Ok::<(), batchwright_text::TextError>(())
//! ```
//!
//! The flow of one text: prompt and text joined → for a text far longer than the limit, a window
//! that holds all tokens that are kept → tokens of each part alone → cut to the room
//! that the special tokens leave → special tokens set around them.
//!
//! The tokens are those of the `tokenizers` crate, always. For BERT's WordPiece, which most small
//! models have, they are found by a path of our own that takes a thirtieth of its time; whatever that
//! path does not understand for certain, of a file or of a text, is left to the crate.
//!
//! Whatever the file says of padding and truncation is overridden: the model's own configuration
//! decides the limit, and rows are packed, not padded.

pub mod augment;
pub mod characters;
mod encoded;
pub mod entities;
mod error;
mod input;
mod locality;
mod options;
mod template;
mod tokenizer;
mod tokens;
mod truncate;
mod window;
mod wordpiece;
mod words;

pub use encoded::{Encoded, TokenSpan};
pub use error::{TextError, TokenCount};
pub use input::Input;
pub use options::{Encode, Limits, Offsets, OnLong, Truncate};
pub use tokenizer::Tokenizer;
