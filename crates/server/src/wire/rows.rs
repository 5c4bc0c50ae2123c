//! Texts and pairs, as JSON has them.

use engine::Input;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A text, or a list of two texts that the model reads together.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a text must be a string, or a list of two strings"
)]
pub(crate) enum Row {
    /// One text.
    Text(String),
    /// Two texts that are read together.
    Pair([String; 2]),
}

impl From<Row> for Input {
    fn from(row: Row) -> Input {
        match row {
            Row::Text(text) => Input::Text(text),
            Row::Pair([first, second]) => Input::Pair(first, second),
        }
    }
}
