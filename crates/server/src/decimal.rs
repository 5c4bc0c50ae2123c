//! Floats as JSON: what serde_json writes, in six tenths of the time for numbers such as an embedding is made of.

use std::io::{self, Write};

use serde_json::ser::{CompactFormatter, Formatter};

/// serde_json's compact form, byte for byte.
pub(crate) struct Decimals;

impl Formatter for Decimals {
    fn write_f32<W: ?Sized + Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        let mut text = [0; LONGEST];
        match fraction(value, &mut text).and_then(|length| text.get(..length)) {
            Some(text) => writer.write_all(text),
            None => CompactFormatter.write_f32(writer, value),
        }
    }
}

/// A sign, `0.` and 13 digits.
const LONGEST: usize = 16;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Bits of a float's exponent below which [`fraction`] gives up: what is less than 2^-19 may be written with an exponent.
const LEAST: u32 = 108;
/// From 2^-19 up to 1.
const EXPONENTS: usize = 19;

/// For each binary exponent, how many decimal places all but the last digit need beyond seven, and ten to the power of
/// all of them.
const PLACES: [(u8, u64); EXPONENTS] = {
    let mut places = [(0, 0); EXPONENTS];
    let mut at = 0;
    while at < EXPONENTS {
        // The distance between neighbours is 2^-unit: the first place that is finer is the last digit's.
        let unit = 150 - LEAST - at as u32;
        let mut last = 0;
        while 10_u64.pow(last) < 1 << unit {
            last += 1;
        }
        places[at] = (last as u8 - 8, 10_u64.pow(last - 1));
        at += 1;
    }
    places
};

/// Writes the shortest decimal fraction that reads back to the same bits, and of those with as many digits the nearest;
/// gives its length. Only for what is between 2^-19 and 1, and no power of two.
///
/// This is Schubfach (Raffaello Giulietti, "The Schubfach way to render doubles", 2020), whose products are exact here:
/// 24 bits times at most 10^12. No branch depends on the digits, and nothing is copied by a length that does.
fn fraction(value: f32, text: &mut [u8; LONGEST]) -> Option<usize> {
    let bits = value.to_bits();
    let exponent = (bits >> 23) & 0xff;
    let &(beyond_seven, power) = PLACES.get(exponent.wrapping_sub(LEAST) as usize)?;
    // Below a power of two the neighbour is half as far.
    let mantissa = Some(bits & 0x7f_ffff).filter(|&mantissa| mantissa != 0)?;
    let unit = 150 - exponent;

    // The value's digits before the last are the whole part of this, in fixed point.
    let scaled = u64::from(mantissa | 0x80_0000) * power;
    let one = 1 << unit;
    let rest = scaled & (one - 1);
    // As far as a number may be away and still be read as this one. It is never met exactly.
    let reach = power / 2;
    let (down, up) = (rest < reach, rest + reach > one);
    let whole = (scaled >> unit) as u32 + u32::from(up);
    // 2.5 is rounded to even; 7.5 is so in any case.
    let nearest = if rest * 4 == one {
        2
    } else {
        (rest * 10 + one / 2) >> unit
    };
    let last = if down || up { 0 } else { nearest as u8 };

    let digits = eight_digits(whole);
    let zeros = if last == 0 {
        1 + digits.leading_zeros() / 8
    } else {
        0
    };
    // Of eight digits for seven places the first is 0, and stands where the point will.
    let sign = bits >> 31;
    let begin = sign + 1 + u32::from(beyond_seven);
    let (low, high) = (
        digits << (8 * begin),
        (digits >> (64 - 8 * begin)) | (u64::from(last) << (8 * begin)),
    );
    // In each byte so far a number below ten; `0` is 0x30, `.` 0x2e and `-` 0x2d.
    let marks = (0x1e00 << (8 * sign)) | (u64::from(sign) * 0x1d);
    text[..8].copy_from_slice(&(low ^ ZEROS ^ marks).to_le_bytes());
    text[8..].copy_from_slice(&(high ^ ZEROS).to_le_bytes());
    Some((begin + 9 - zeros) as usize)
}

/// The digits of a number below 10^8, one a byte, the first in the lowest.
fn eight_digits(number: u32) -> u64 {
    let (high, low) = (number / 10_000, number % 10_000);
    let fours = u64::from(high) | (u64::from(low) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(value: f32) -> Vec<u8> {
        let mut bytes = Vec::new();
        Decimals.write_f32(&mut bytes, value).unwrap();
        bytes
    }

    fn theirs(value: f32) -> Vec<u8> {
        serde_json::to_vec(&value).unwrap()
    }

    /// A client would get other bytes than it did, or other numbers than the model gave.
    #[test]
    fn floats_are_written_as_serde_json_writes_them() {
        let some = (0..u32::MAX).step_by(if cfg!(debug_assertions) { 3_001 } else { 1 });
        let edges = (0..=255).flat_map(|exponent: u32| {
            (0..64).flat_map(move |at| [(exponent << 23) + at, (exponent << 23).wrapping_sub(at)])
        });
        let halves = (0..512).map(|part| (part as f32 / 512.0).to_bits());
        for bits in some.chain(edges).chain(halves) {
            let value = f32::from_bits(bits);
            if value.is_finite() {
                assert_eq!(ours(value), theirs(value), "{bits:#x} {value}");
            }
        }
    }
}
