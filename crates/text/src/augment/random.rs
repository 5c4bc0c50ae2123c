//! Random numbers that depend on nothing but their key.
//!
//! The number `n` for a purpose is `mix(key + purpose + n · γ)`: SplitMix64's output function on its
//! Weyl sequence (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
//! 2014, with Stafford's constants "Mix13"). It is a counter-based generator in the sense of Salmon
//! et al. (SC 2011): no state is carried from one number to the next, so any row's numbers can be
//! had at any time on any thread. Philox and Threefry would do as well, at four to ten times the
//! cost for the handful of numbers that a row needs; SplitMix64 passes BigCrush, and two rows'
//! sequences meet with a chance of about one in 2³⁸ for a million rows.

use super::kind::Kind;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// A bijection of 64-bit numbers in which every bit of the input moves half of the output's.
const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What identifies the random numbers of one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The pass over the data, from 0; each shows the rows with other edits.
    pub epoch: u64,
    /// The row's number in the data, from 0, whatever file or batch it came in.
    pub row: u64,
    /// Which of a row's copies, from 0.
    pub copy: u32,
}

/// What a number is for: numbers for different purposes are independent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Which words are edited, and by which operation.
    Words,
    /// Which characters are edited, and by which operation.
    Characters,
    /// Which edits go or come so that the bounds hold.
    Bounds,
    /// What an operation does where it acts.
    Detail(Kind),
}

impl Purpose {
    fn offset(self) -> u64 {
        OFFSETS[match self {
            Purpose::Words => 0,
            Purpose::Characters => 1,
            Purpose::Bounds => 2,
            Purpose::Detail(kind) => 8 + kind as usize,
        }]
    }
}

/// How far apart the purposes' numbers lie: at random, so that their sequences do not meet.
const OFFSETS: [u64; 8 + Kind::ALL.len()] = {
    let mut offsets = [0; 8 + Kind::ALL.len()];
    let mut at = 0;
    while at < offsets.len() {
        offsets[at] = mix((at as u64 + 1).wrapping_mul(GAMMA));
        at += 1;
    }
    offsets
};

/// The key of one result's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of a seed, from which those of its places follow.
    pub(crate) fn of_seed(seed: u64) -> Key {
        Key(mix(seed.wrapping_add(GAMMA)))
    }

    pub(crate) fn at(self, place: Place) -> Key {
        let epoch = mix(self.0 ^ place.epoch);
        let row = mix(epoch ^ place.row);
        Key(mix(row ^ u64::from(place.copy)))
    }

    /// The `n`th number for a purpose.
    pub(crate) fn number(self, purpose: Purpose, n: u64) -> u64 {
        let at = self.0.wrapping_add(purpose.offset());
        mix(at.wrapping_add(n.wrapping_mul(GAMMA)))
    }

    /// All numbers for a purpose, one after the other.
    pub(crate) fn numbers(self, purpose: Purpose) -> Numbers {
        Numbers {
            next: self.0.wrapping_add(purpose.offset()),
        }
    }
}

/// Numbers of one key and purpose in their order.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    next: u64,
}

impl Numbers {
    pub(crate) fn draw(&mut self) -> u64 {
        let number = mix(self.next);
        self.next = self.next.wrapping_add(GAMMA);
        number
    }

    /// A number below `n`, each as likely to within n/2⁶⁴; 0 for `n` 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        scaled(self.draw(), n)
    }
}

/// A 64-bit number as one below `n` (Lemire 2019, without the rejection).
pub(crate) fn scaled(number: u64, n: usize) -> usize {
    ((u128::from(number) * n as u128) >> 64) as usize
}

/// Whether something with a chance happens, to within 2⁻⁵³.
pub(crate) fn happens(number: u64, p: f64) -> bool {
    ((number >> 11) as f64) < p * (1u64 << 53) as f64
}
