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
            pub fn unit(self) -> Unit {
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
    DropWords = "drop-words", Word, "A word is left out, with the white space before it.";
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
