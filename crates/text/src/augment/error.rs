//! What can be wrong with a recipe.

/// Why a recipe cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// The recipe's text is not what it should be at some place.
    #[error("line {line}: {what}")]
    Recipe {
        /// From 1.
        line: usize,
        /// The key, what is wrong with it, the limit and what to write instead.
        what: String,
    },
    /// The recipe asks for something that cannot be.
    #[error("{what}")]
    Contradiction {
        /// What, the limit, and the remedy.
        what: String,
    },
    /// A file that the recipe names cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// As far as it is known.
        path: String,
        /// What the system said.
        why: String,
    },
    /// There is no built-in recipe of that name.
    #[error("there is no recipe `{name}`; there are {known}, or give a file ending in .toml")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}
