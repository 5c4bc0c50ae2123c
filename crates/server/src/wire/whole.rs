//! Whole numbers, however JSON writes them: there, and for every schema, `2.0` is 2, and some languages have no other
//! numbers to write.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The first whole number that is too large for 64 bits.
const BEYOND: f64 = 18_446_744_073_709_551_616.0;

/// A whole number, 0 or more.
struct Whole<T>(T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number<T>(PhantomData<T>);

        impl<T: TryFrom<u64>> Visitor<'_> for Number<T> {
            type Value = Whole<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(type_name::<T>())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Whole<T>, E> {
                let is = Unexpected::Unsigned(number);
                let fitting = T::try_from(number).map(Whole);
                fitting.map_err(|_| E::invalid_value(is, &self))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Whole<T>, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Whole<T>, E> {
                match number.fract() == 0.0 && (0.0..BEYOND).contains(&number) {
                    true => self.visit_u64(number as u64),
                    false => Err(E::invalid_type(Unexpected::Float(number), &self)),
                }
            }
        }

        from.deserialize_u64(Number(PhantomData))
    }
}

/// A whole number, or none.
pub(crate) fn whole<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number: Option<Whole<T>> = Option::deserialize(from)?;
    Ok(number.map(|Whole(number)| number))
}

/// A list of whole numbers.
pub(crate) fn wholes<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let numbers: Vec<Whole<T>> = Vec::deserialize(from)?;
    Ok(numbers.into_iter().map(|Whole(number)| number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lua's and JavaScript's clients would be refused for how they write a number, or 1.5 be taken for 1.
    #[test]
    fn whole_numbers_are_known_however_they_are_written() {
        let read =
            |text: &str| serde_json::from_str::<Whole<u64>>(text).map(|Whole(number)| number);
        for (text, wanted) in [
            ("7", 7),
            ("7.0", 7),
            ("7e2", 700),
            ("0.0", 0),
            ("-0.0", 0),
            ("18446744073709551615", u64::MAX),
            ("1e19", 10_000_000_000_000_000_000),
        ] {
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
        for text in [
            "7.5",
            "-1",
            "-1.0",
            "18446744073709551616",
            "1e300",
            "\"7\"",
            "true",
        ] {
            let words = read(text).unwrap_err().to_string();
            assert!(words.contains(", expected u64"), "{words}");
        }
        assert!(serde_json::from_str::<Whole<u16>>("65536.0").is_err());
        let list = wholes::<_, usize>(&mut serde_json::Deserializer::from_str("[1, 2.0]"));
        assert_eq!(list.unwrap(), [1, 2]);
    }
}
