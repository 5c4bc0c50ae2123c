//! How exactly the encoder computes.

use std::fmt;
use std::str::FromStr;

/// How exactly the encoder's matrix products are computed; all else is f32 always.
///
/// A row's answer depends on that row alone in every precision, bit for bit.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32: what PyTorch computes, to its rounding.
    #[default]
    Exact,
    /// Weights and rows as 16-bit integers: nearly lossless.
    Near,
    /// Weights and rows as 8-bit integers: fastest, and half to a tenth of a per cent off in cosine.
    Fast,
}

/// No precision has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no precision is called `{0}`; choose one of {names}", names = Precision::ALL.map(Precision::name).join(", "))]
pub struct UnknownPrecision(String);

impl Precision {
    /// All, most exact first.
    pub const ALL: [Precision; 3] = [Precision::Exact, Precision::Near, Precision::Fast];

    /// Its name, as `--precision` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::Exact => "exact",
            Precision::Near => "near",
            Precision::Fast => "fast",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Precision::ALL.into_iter().find(|it| it.name() == name);
        found.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A precision that was recorded by name would not be found again.
    #[test]
    fn names_parse_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let unknown = "int8".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(
            unknown,
            "no precision is called `int8`; choose one of exact, near, fast"
        );
    }
}
