//! The vocabulary of characters that lies beside an output: its name, and what else may have that name.

use std::path::{Path, PathBuf};

use anyhow::bail;
use data::Companion;
use text::characters::CharacterVocabulary;

use super::tokens::Tokens;

/// What stands behind the output's name in that of its vocabulary.
const SUFFIX: &str = ".vocabulary.json";

/// Where the vocabulary of an output lies.
pub(super) fn beside(output: &Path) -> PathBuf {
    // Where the output is a link, as all that belongs to it.
    let mut name = data::behind_links(output).into_os_string();
    name.push(SUFFIX);
    name.into()
}

/// Refuses to put a vocabulary where there is another file than one.
pub(super) fn refuse_another(path: &Path) -> anyhow::Result<()> {
    if path.exists() && CharacterVocabulary::from_file(path).is_err() {
        bail!(
            "{}: the vocabulary of the output is to be written there, but another file has that name; \
             move it away, or choose another -o",
            path.display()
        );
    }
    Ok(())
}

/// What is put beside the output; a model's tokenizer has its own file.
pub(super) fn companion(tokens: &Tokens) -> Option<Companion> {
    let Tokens::Characters(vocabulary) = tokens else {
        return None;
    };
    Some(Companion {
        suffix: SUFFIX.to_owned(),
        content: vocabulary.to_json().into(),
    })
}
