//! Which keys are neighbours.

use super::Table;

/// A keyboard as it is drawn in a table's file: one text a row, one character a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    pub(crate) rows: Vec<String>,
    /// What the same keys give with shift.
    pub(crate) shifted: Vec<String>,
    /// Where each row begins, in widths of a key from the left.
    pub(crate) offsets: Vec<f64>,
}

/// Offsets of an ANSI keyboard.
const OFFSETS: [f64; 4] = [0.0, 1.5, 1.75, 2.25];

/// Keys whose middles are no further apart, in widths of a key, are neighbours: for `s` those are
/// `a`, `d`, `w`, `e`, `z` and `x`.
const REACH: f64 = 1.3;

/// Each character with those on the neighbouring keys, with shift or without as it has itself.
pub(crate) fn neighbours(keys: &Keys) -> Table {
    let mut table = Table::default();
    for level in [&keys.rows, &keys.shifted] {
        let placed = placed(level, &keys.offsets);
        for (c, x, y) in &placed {
            for (other, to_x, to_y) in &placed {
                let square = (x - to_x).powi(2) + (y - to_y).powi(2);
                if square <= REACH * REACH {
                    table.add(c, other);
                }
            }
        }
    }
    table
}

/// The keys of a level with their places.
fn placed(rows: &[String], offsets: &[f64]) -> Vec<(String, f64, f64)> {
    let offset = |row: usize| {
        let known = offsets.get(row).or(OFFSETS.get(row));
        known.copied().unwrap_or_default()
    };
    let rows = rows.iter().enumerate();
    let keys = rows.flat_map(|(row, keys)| {
        let keys = keys.chars().enumerate().filter(|(_, c)| *c != ' ');
        keys.map(move |(at, c)| (c.to_string(), at as f64 + offset(row), row as f64))
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it slips would go to keys that no finger reaches by mistake.
    #[test]
    fn neighbours_are_the_keys_around() {
        let keys = Keys {
            rows: [
                "`1234567890-=",
                "qwertyuiop[]\\",
                "asdfghjkl;'",
                "zxcvbnm,./",
            ]
            .map(str::to_owned)
            .into(),
            ..Keys::default()
        };
        let table = neighbours(&keys);
        let cases = [
            ("s", "adewxz"),
            ("q", "12aw"),
            ("p", "-0;[lo"),
            ("m", ",jkn"),
        ];
        let mut checks = testing::CaseTable::new("neighbours of a key");
        for (key, around) in cases {
            let mut got: Vec<&str> = table.0[key].iter().map(String::as_str).collect();
            got.sort_unstable();
            let mut expected: Vec<String> = around.chars().map(String::from).collect();
            expected.sort_unstable();
            checks.equal(key, &got.concat(), &expected.concat());
        }
        checks.finish();
    }
}
