//! A vocabulary as a file: JSON, which says what it is and holds the tokens in the order of their ids.
//!
//! ```json
//! {
//!   "kind": "characters",
//!   "version": 1,
//!   "special_tokens": { "pad": "<PAD>", "unknown": "<UNK>", "begin": "<BEG>", "end": "<END>" },
//!   "tokens": ["<PAD>", "<UNK>", "<BEG>", "<END>", " ", "a", "b"]
//! }
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CharacterVocabulary, SpecialTokens};

const KIND: &str = "characters";
const VERSION: u32 = 1;

/// Why a vocabulary could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VocabularyError {
    /// The file is missing or cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The file is no vocabulary of characters.
    #[error("{}: not a vocabulary of characters: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    version: u32,
    special_tokens: WrittenSpecial,
    tokens: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSpecial {
    pad: String,
    unknown: String,
    begin: Option<String>,
    end: Option<String>,
}

impl CharacterVocabulary {
    /// Reads what [`to_json`](CharacterVocabulary::to_json) wrote, or somebody by hand: the characters
    /// may come in any order, and each has its place in the list for its id.
    ///
    /// # Errors
    /// [`VocabularyError`]: a file that cannot be read, is no such JSON, lacks a special token, or names
    /// a token twice.
    pub fn from_file(path: impl AsRef<Path>) -> Result<CharacterVocabulary, VocabularyError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| VocabularyError::Unreadable {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        CharacterVocabulary::from_json(&text).map_err(|why| VocabularyError::Malformed {
            path: path.to_owned(),
            why,
        })
    }

    /// The vocabulary that a text in JSON describes, or what is wrong with it.
    fn from_json(text: &str) -> Result<CharacterVocabulary, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if written.kind != KIND || written.version != VERSION {
            return Err(format!(
                "it is of kind `{}`, version {}; this program reads `{KIND}`, version {VERSION}",
                written.kind, written.version
            ));
        }
        let special = SpecialTokens {
            pad: written.special_tokens.pad,
            unknown: written.special_tokens.unknown,
            begin: written.special_tokens.begin,
            end: written.special_tokens.end,
        };
        let mut ids: HashMap<&str, u32> = HashMap::with_capacity(written.tokens.len());
        for (token, id) in written.tokens.iter().zip(0..) {
            if let Some(first) = ids.insert(token, id) {
                return Err(format!("token {token:?} has two ids, {first} and {id}"));
            }
        }
        let mut take = |name: &str| {
            ids.remove(name)
                .ok_or_else(|| format!("the special token {name:?} is not among its tokens"))
        };
        let ends = [
            Some(take(&special.pad)?),
            Some(take(&special.unknown)?),
            special.begin.as_deref().map(&mut take).transpose()?,
            special.end.as_deref().map(&mut take).transpose()?,
        ];
        let mut characters = Vec::with_capacity(ids.len());
        for (token, id) in ids {
            let mut parts = token.chars();
            match (parts.next(), parts.next()) {
                (Some(character), None) => characters.push((character, id)),
                _ => {
                    return Err(format!(
                        "token {token:?} (id {id}) is neither one character nor a special token"
                    ));
                }
            }
        }
        Ok(CharacterVocabulary::assemble(
            special,
            written.tokens,
            ends,
            // Pages are numbered as they come: by code point, so that equal files are equal here.
            {
                characters.sort_unstable();
                characters
            },
        ))
    }

    /// The vocabulary as JSON, one token a line; the same bytes for equal vocabularies.
    #[must_use]
    pub fn to_json(&self) -> String {
        let special = &self.special;
        let written = Written {
            kind: KIND.to_owned(),
            version: VERSION,
            special_tokens: WrittenSpecial {
                pad: special.pad.clone(),
                unknown: special.unknown.clone(),
                begin: special.begin.clone(),
                end: special.end.clone(),
            },
            tokens: self.tokens.clone(),
        };
        // Strings and numbers always have a form in JSON.
        serde_json::to_string_pretty(&written).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::characters::CharacterSet;

    /// A model would read other ids in production than it was trained on.
    #[test]
    fn a_file_gives_the_same_vocabulary() {
        let mut seen = CharacterSet::default();
        seen.add("a\"\\\n\0é😀<>");
        for special in [
            SpecialTokens::default(),
            SpecialTokens {
                pad: "a".repeat(3),
                begin: None,
                ..SpecialTokens::default()
            },
        ] {
            let vocabulary = CharacterVocabulary::new(&seen, special);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("vocabulary.json");
            std::fs::write(&path, vocabulary.to_json()).unwrap();
            let back = CharacterVocabulary::from_file(&path).unwrap();
            assert_eq!(back, vocabulary);
            assert_eq!(back.to_json(), vocabulary.to_json());
        }
    }

    /// A slip in a file that was written by hand would give two characters one id, or no padding.
    #[test]
    fn what_is_no_vocabulary_is_refused_with_the_reason() {
        let with = |tokens: &str| {
            format!(
                r#"{{"kind":"characters","version":1,"special_tokens":{{"pad":"P","unknown":"U",
                "begin":null,"end":null}},"tokens":{tokens}}}"#
            )
        };
        assert_eq!(
            CharacterVocabulary::from_json(&with(r#"["b","P","U","a"]"#))
                .map(|vocabulary| ['a', 'b', 'P', 'x'].map(|c| vocabulary.id(c))),
            Ok([3, 0, 2, 2])
        );
        let mut table = testing::CaseTable::new("errors say what is wrong with the file");
        for (text, words) in [
            ("{", "EOF"),
            ("{}", "missing field"),
            (&with(r#"["P","a"]"#), "\"U\" is not among"),
            (&with(r#"["P","U","a","a"]"#), "two ids, 2 and 3"),
            (&with(r#"["P","U","ab"]"#), "\"ab\" (id 2) is neither"),
            (&with(r#"["P","U",""]"#), "is neither"),
            (&with(r#"["P","U"]"#).replace(":1", ":2"), "version 2"),
        ] {
            let error = CharacterVocabulary::from_json(text).unwrap_err();
            table.equal(text, &error.contains(words), &true);
        }
        table.finish();
    }
}
