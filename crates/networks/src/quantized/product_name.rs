//! What products are called: in manifests, in the weights' file and on the command line.

use std::fmt;
use std::str::FromStr;

/// One matrix product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ProductPart {
    QueriesKeysValues,
    Output,
    Up,
    Down,
}

impl ProductPart {
    pub(crate) const ALL: [ProductPart; 4] = [
        ProductPart::QueriesKeysValues,
        ProductPart::Output,
        ProductPart::Up,
        ProductPart::Down,
    ];

    fn name(self) -> &'static str {
        match self {
            ProductPart::QueriesKeysValues => "qkv",
            ProductPart::Output => "output",
            ProductPart::Up => "up",
            ProductPart::Down => "down",
        }
    }
}

/// A product of the encoder: `layers.4.qkv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProductName {
    pub(crate) layer: usize,
    pub(crate) part: ProductPart,
}

impl fmt::Display for ProductName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layers.{}.{}", self.layer, self.part.name())
    }
}

/// Some products, as a user names them: `layers.4.qkv` is one of them, `layers.4` all of that layer.
///
/// ```
/// use batchwright_networks::ProductChoice;
/// let choice: ProductChoice = "layers.4.down".parse().unwrap();
/// assert_eq!(choice.to_string(), "layers.4.down");
/// assert!("layers.four".parse::<ProductChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductChoice {
    layer: usize,
    part: Option<ProductPart>,
}

impl ProductChoice {
    pub(crate) fn has(self, name: ProductName) -> bool {
        self.layer == name.layer && self.part.is_none_or(|part| part == name.part)
    }

    /// The layer that is named.
    pub(crate) fn layer(self) -> usize {
        self.layer
    }
}

impl fmt::Display for ProductChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layers.{}", self.layer)?;
        self.part
            .map_or(Ok(()), |part| write!(f, ".{}", part.name()))
    }
}

/// The words name no product.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no product; write a layer such as layers.4, or one of its products: {names}",
    names = ProductPart::ALL.map(|part| format!("layers.4.{}", part.name())).join(", ")
)]
pub struct UnknownProduct(String);

impl FromStr for ProductChoice {
    type Err = UnknownProduct;

    fn from_str(words: &str) -> Result<Self, Self::Err> {
        let parsed = || {
            let rest = words.strip_prefix("layers.")?;
            let (layer, part) = match rest.split_once('.') {
                None => (rest, None),
                Some((layer, name)) => {
                    let part = ProductPart::ALL.into_iter().find(|it| it.name() == name)?;
                    (layer, Some(part))
                }
            };
            // A sign would be parsed too, and written back as another name.
            let digits = layer.bytes().all(|byte| byte.is_ascii_digit());
            let layer = layer.parse().ok().filter(|_| digits)?;
            Some(ProductChoice { layer, part })
        };
        parsed().ok_or_else(|| UnknownProduct(words.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every product of an encoder with so many layers.
    fn all(layers: usize) -> impl Iterator<Item = ProductName> {
        (0..layers).flat_map(|layer| ProductPart::ALL.map(|part| ProductName { layer, part }))
    }

    /// A product that was to stay exact would be quantised, or another one in its place.
    #[test]
    fn names_choose_what_they_say() {
        let chosen = |words: &str| -> Vec<String> {
            let choice: ProductChoice = words.parse().unwrap();
            let all = all(3).filter(|&name| choice.has(name));
            all.map(|name| name.to_string()).collect()
        };
        for name in all(3).map(|name| name.to_string()) {
            assert_eq!(chosen(&name), [name.as_str()]);
        }
        assert_eq!(
            chosen("layers.1"),
            [
                "layers.1.qkv",
                "layers.1.output",
                "layers.1.up",
                "layers.1.down"
            ]
        );
        for wrong in [
            "",
            "layers",
            "layers.",
            "layers.+1",
            "layers.1.",
            "layers.1.q",
            "1.qkv",
        ] {
            let error = wrong.parse::<ProductChoice>().unwrap_err().to_string();
            assert!(error.contains("layers.4.qkv"), "{wrong}: {error}");
        }
    }
}
