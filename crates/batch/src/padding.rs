//! What padding costs where rows of a batch are made equally long.

/// Tokens that were asked for, and tokens that rectangular batches of the same rows would compute.
///
/// Packed rows (the CPU path) compute `tokens` alone; the figure then says what packing saves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Tokens of the rows themselves.
    pub tokens: u64,
    /// Tokens if each batch were padded to its longest row.
    pub padded_tokens: u64,
}

impl Padding {
    /// Adds a batch of `rows` rows with `tokens` tokens in all, the longest of `longest` tokens.
    pub(crate) fn add_batch(&mut self, rows: usize, tokens: usize, longest: usize) {
        self.tokens += tokens as u64;
        self.padded_tokens += (rows * longest) as u64;
    }

    /// Adds what another window counted.
    pub fn add(&mut self, other: Padding) {
        self.tokens += other.tokens;
        self.padded_tokens += other.padded_tokens;
    }

    /// Share of a padded computation that would be padding: 0 to 1.
    pub fn waste(&self) -> f64 {
        if self.padded_tokens == 0 {
            return 0.0;
        }
        1.0 - self.tokens as f64 / self.padded_tokens as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, plan};

    /// A wrong figure here would send a user after the wrong batch budget.
    #[test]
    fn waste_is_the_share_of_padding() {
        assert_eq!(Padding::default().waste(), 0.0);
        // One batch of 8 and 4 tokens: 16 padded, 12 asked for.
        assert_eq!(plan(&[8, 4], Budget::tokens(100)).padding().waste(), 0.25);
        assert_eq!(plan(&[8, 4], Budget::tokens(8)).padding().waste(), 0.0);
        let mut sum = plan(&[8, 4], Budget::tokens(100)).padding();
        sum.add(plan(&[4, 4, 4, 4], Budget::tokens(100)).padding());
        assert_eq!(
            sum,
            Padding {
                tokens: 28,
                padded_tokens: 32
            }
        );
    }
}
