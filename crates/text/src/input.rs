//! What a row asks: a text, or two.

/// One text, or a pair of texts which the model reads together.
///
/// ```
/// use batchwright_text::Input;
///
/// assert_eq!(Input::from("hello"), Input::Text("hello".into()));
/// assert_eq!(Input::from(("query", "passage")), Input::Pair("query".into(), "passage".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// One text.
    Text(String),
    /// Two texts, the first of which is the query where one is.
    Pair(String, String),
}

impl Input {
    /// The text, or the first of the pair.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Input::Text(text) | Input::Pair(text, _) => text,
        }
    }

    /// The second of the pair.
    #[must_use]
    pub fn pair(&self) -> Option<&str> {
        match self {
            Input::Text(_) => None,
            Input::Pair(_, second) => Some(second),
        }
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Input {
        Input::Text(text.to_owned())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Input {
        Input::Text(text)
    }
}

impl From<&String> for Input {
    fn from(text: &String) -> Input {
        Input::Text(text.clone())
    }
}

impl<A: Into<String>, B: Into<String>> From<(A, B)> for Input {
    fn from((first, second): (A, B)) -> Input {
        Input::Pair(first.into(), second.into())
    }
}
