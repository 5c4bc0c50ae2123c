//! The operations by name: the one list from which recipes, reports and random numbers derive.

use std::fmt;

/// What a probability is the chance of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Each character (extended grapheme cluster) to which the operation applies.
    Character,
    /// Each word to which it applies.
    Word,
    /// The row as a whole.
    Row,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $unit:ident, $sentence:literal;)*) => {
        /// An operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(#[doc = $sentence] $variant,)*
        }

        impl Kind {
            /// All of them, in the order in which they are listed and counted.
            pub const ALL: &[Kind] = &[$(Kind::$variant),*];

            /// Its name in recipes and reports.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// What its probability is the chance of.
            pub const fn unit(self) -> Unit {
                match self { $(Kind::$variant => Unit::$unit,)* }
            }

            /// What it does, in a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Kind::$variant => $sentence,)* }
            }
        }
    };
}

kinds! {
    Delete = "delete", Character, "A character is left out.";
    Insert = "insert", Character, "A character of the alphabet comes before or after one.";
    Substitute = "substitute", Character, "Another character of the alphabet stands in one's place.";
    Repeat = "repeat", Character, "A character comes twice.";
    Swap = "swap", Character, "A character changes places with the next of its word.";
    Keyboard = "keyboard", Character, "A character of a neighbouring key stands in one's place.";
    Optical = "optical", Character, "Characters that a scanner takes for others stand in their place.";
    Similar = "similar", Character, "A character of another script or form that looks alike stands in one's place.";
    Accent = "accent", Character, "A letter gets, loses or changes its accent.";
    Case = "case", Character, "A capital becomes small, or a small letter a capital.";
    Space = "space", Character, "White space is left out or comes twice.";
    Punctuation = "punctuation", Character, "A mark is left out, comes twice, is another, or follows a word that had none.";
    Errors = "errors", Word, "A word, or several, is misspelt as in a table.";
    DropWords = "drop-words", Word, "A word is left out, with what stands between it and the one before.";
    RepeatWords = "repeat-words", Word, "A word comes twice.";
    SplitWords = "split-words", Word, "A space comes between two characters of a word.";
    JoinWords = "join-words", Word, "What stands between a word and the next is left out.";
    Capitals = "capitals", Word, "A word is written in capitals, in small letters, or with its first a capital.";
    ShuffleWords = "shuffle-words", Row, "The words change places; what stands between them stays.";
}

impl Kind {
    /// The operation of a name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
