//! Sizes as people write them: `64MiB`, `2g`, `500_000`, `off`.

use std::fmt;
use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(pub(crate) u64);

/// Unit and bytes. `K`, `M`, `G` alone are binary, as `dd`, `sort -S` and Java read them.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no size; write bytes or 64KiB, 64MiB, 2GiB, or off");
        let lower = text.trim().to_ascii_lowercase();
        if lower == "off" {
            return Ok(ByteSize(0));
        }
        let end = lower.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
        let (number, unit) = lower.split_at(end.unwrap_or(lower.len()));
        let number = number.replace('_', "");
        let unit = unit.trim();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(refuse)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(*factor).map(ByteSize).ok_or_else(refuse);
        }
        let number: f64 = number.parse().map_err(|_| refuse())?;
        let bytes = number * *factor as f64;
        // Beyond 2^53 a fraction of a byte is no longer told apart; nobody has such a cache.
        if bytes < 9e15 {
            Ok(ByteSize(bytes.round() as u64))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for ByteSize {
    /// Three digits and a binary unit: `86.7 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 999.5 && unit + 1 < NAMES.len() {
            value /= 1_024.0;
            unit += 1;
        }
        let decimals = match value {
            _ if unit == 0 => 0,
            v if v < 9.995 => 2,
            v if v < 99.95 => 1,
            _ => 0,
        };
        write!(f, "{value:.decimals$} {}", NAMES[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of another size than asked for: memory would run out, or nothing would be kept.
    #[test]
    fn sizes_are_read_with_their_units() {
        let cases = [
            ("0", Some(0)),
            ("off", Some(0)),
            ("1", Some(1)),
            ("64MiB", Some(64 << 20)),
            ("64 mib", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64MB", Some(64_000_000)),
            ("1.5g", Some(3 << 29)),
            ("500_000", Some(500_000)),
            ("2TiB", Some(2 << 40)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("64 MiBs", None),
            ("1.2.3", None),
            ("99999999999999999999", None),
            ("99999999999T", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected.map(ByteSize), "{text:?}");
        }
    }

    /// A summary would show figures that nobody can read.
    #[test]
    fn sizes_are_shown_with_three_digits() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "0.98 KiB"),
            (1 << 20, "1.00 MiB"),
            (90_868_376, "86.7 MiB"),
            (213 << 20, "213 MiB"),
            (24 << 30, "24.0 GiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), shown);
        }
    }
}
