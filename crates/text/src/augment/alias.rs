//! Drawing from a fixed distribution in constant time.

/// Walker's alias table (1974) as Vose (1991) builds it: one number, one lookup, one comparison.
///
/// The arithmetic is additions, products and quotients of doubles alone, which are the same on every
/// machine; a logarithm's last bit is not.
#[derive(Clone, Debug)]
pub(crate) struct Alias<const N: usize, const FRACTION: u32> {
    /// Each outcome's share of its own column in parts of 2^`FRACTION`, and who has the rest.
    columns: Box<[(u32, u32); N]>,
}

impl<const N: usize, const FRACTION: u32> Alias<N, FRACTION> {
    /// Bits of a number that a draw uses, from the lowest.
    pub(crate) const BITS: u32 = N.trailing_zeros() + FRACTION;

    /// For weights that are not negative and not all zero; those beyond `N` are left out.
    pub(crate) fn new(weights: &[f64]) -> Alias<N, FRACTION> {
        const { assert!(N.is_power_of_two()) };
        let sum: f64 = weights.iter().take(N).sum();
        let mut shares = [0.0; N];
        for (share, weight) in shares.iter_mut().zip(weights) {
            *share = weight / sum * N as f64;
        }
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..N).partition(|at| shares[*at] < 1.0);
        let mut columns = Box::new([(1 << FRACTION, 0); N]);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            columns[poor] = (fixed(shares[poor], FRACTION), rich as u32);
            shares[rich] -= 1.0 - shares[poor];
            if shares[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // What is left has a full column but for rounding; an outcome without weight has none of it.
        let heaviest = (0..N).max_by(|a, b| shares[*a].total_cmp(&shares[*b]));
        for at in small {
            if weights.get(at).is_none_or(|weight| *weight == 0.0) {
                columns[at] = (0, heaviest.unwrap_or(0) as u32);
            }
        }
        Alias { columns }
    }

    /// The outcome of the lowest `BITS` bits of a number.
    pub(crate) fn pick(&self, number: u64) -> usize {
        let at = number as usize % N;
        let fraction = (number >> N.trailing_zeros()) as u32 & ((1 << FRACTION) - 1);
        let (share, other) = self.columns[at];
        // Which of the two is random: a branch on it would be guessed wrong half of the time.
        std::hint::select_unpredictable(fraction < share, at, other as usize)
    }
}

fn fixed(share: f64, bits: u32) -> u32 {
    (share * f64::from(1u32 << bits)).round() as u32
}
