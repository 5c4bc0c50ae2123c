//! One Arrow value as JSON, or as the text of a CSV cell.
//!
//! Numbers keep the shortest digits that read back to the same bits in their own width: an f32 of
//! 0.1 is `0.1`, not `0.10000000149011612`.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use serde::Serialize;

/// Writes row `row` of `array` as JSON.
///
/// Dates, times, decimals of other widths and bytes (as hexadecimal) become strings or numbers as
/// Arrow displays them. JSON has no NaN and no infinity: these are the strings `"NaN"`,
/// `"Infinity"`, `"-Infinity"`.
pub(crate) fn write_json(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if is_null(array, row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::Utf8 => json(&array.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => json(&array.as_string::<i64>().value(row), out),
        DataType::Utf8View => json(&array.as_string_view().value(row), out),
        DataType::Float16 => {
            write_f32(array.as_primitive::<Float16Type>().value(row).to_f32(), out);
        }
        DataType::Float32 => write_f32(array.as_primitive::<Float32Type>().value(row), out),
        DataType::Float64 => write_f64(array.as_primitive::<Float64Type>().value(row), out),
        DataType::List(_) => write_list(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => write_list(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(_, _) => write_list(&array.as_fixed_size_list().value(row), out),
        DataType::Struct(fields) => {
            let values = array.as_struct();
            out.push(b'{');
            for (at, field) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json(field.name(), out);
                out.push(b':');
                write_json(values.column(at), row, out);
            }
            out.push(b'}');
        }
        DataType::Map(_, _) => write_map(&array.as_map().value(row), out),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            write_json(dictionary.values(), dictionary_key(array, row), out);
        }
        _ if is_plain(array.data_type()) => write_display(array, row, out),
        _ => {
            let mut text = Vec::new();
            write_display(array, row, &mut text);
            json(&String::from_utf8_lossy(&text), out);
        }
    }
}

/// Writes row `row` of `array` as the text of a CSV cell: strings as they are, null as nothing,
/// lists and structs as JSON.
pub(crate) fn write_text(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    if is_null(array, row) {
        return;
    }
    match array.data_type() {
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => {
            out.extend_from_slice(array.as_string::<i64>().value(row).as_bytes());
        }
        DataType::Utf8View => out.extend_from_slice(array.as_string_view().value(row).as_bytes()),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            write_text(dictionary.values(), dictionary_key(array, row), out);
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let start = out.len();
            write_json(array, row, out);
            // Outside of JSON, NaN needs no quotes.
            out.retain({
                let mut at = 0;
                move |byte| {
                    at += 1;
                    at <= start || *byte != b'"'
                }
            });
        }
        data_type if data_type.is_nested() => write_json(array, row, out),
        _ => write_display(array, row, out),
    }
}

/// Types whose display is valid JSON as it stands.
fn is_plain(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal() || matches!(data_type, DataType::Boolean)
}

/// Null in the array itself; arrays of type Null and dictionaries' values have no bitmap to ask.
fn is_null(array: &dyn Array, row: usize) -> bool {
    match array.data_type() {
        DataType::Null => true,
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            array.is_null(row) || is_null(dictionary.values(), dictionary_key(array, row))
        }
        _ => array.is_null(row),
    }
}

/// The index into the dictionary's values of a row that is not null.
fn dictionary_key(array: &dyn Array, row: usize) -> usize {
    let keys: &dyn Array = array.as_any_dictionary().keys();
    let key = match keys.data_type() {
        DataType::Int8 => i64::from(keys.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => i64::from(keys.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => i64::from(keys.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => keys.as_primitive::<Int64Type>().value(row),
        DataType::UInt8 => i64::from(keys.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => i64::from(keys.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => i64::from(keys.as_primitive::<UInt32Type>().value(row)),
        // The last key type that Arrow allows.
        _ => i64::try_from(keys.as_primitive::<UInt64Type>().value(row)).unwrap_or(0),
    };
    usize::try_from(key).unwrap_or(0)
}

fn write_list(values: &ArrayRef, out: &mut Vec<u8>) {
    out.push(b'[');
    // Embeddings are by far the most cells of any output: no look at the type for each number.
    if let Some(numbers) = values.as_primitive_opt::<Float32Type>()
        && numbers.null_count() == 0
    {
        for (at, number) in numbers.values().iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_f32(*number, out);
        }
    } else {
        for at in 0..values.len() {
            if at > 0 {
                out.push(b',');
            }
            write_json(values, at, out);
        }
    }
    out.push(b']');
}

/// A map as an object; keys that are no strings are shown as their JSON.
fn write_map(entries: &arrow_array::StructArray, out: &mut Vec<u8>) {
    out.push(b'{');
    for at in 0..entries.len() {
        if at > 0 {
            out.push(b',');
        }
        let mut key = Vec::new();
        write_text(entries.column(0), at, &mut key);
        json(&String::from_utf8_lossy(&key), out);
        out.push(b':');
        write_json(entries.column(1), at, out);
    }
    out.push(b'}');
}

fn write_f32(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        json(&value, out)
    } else {
        write_not_finite(f64::from(value), out)
    }
}

fn write_f64(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        json(&value, out)
    } else {
        write_not_finite(value, out)
    }
}

fn write_not_finite(value: f64, out: &mut Vec<u8>) {
    let words: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    };
    out.extend_from_slice(words);
}

/// Writes a string or number as JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    // Writing a string or a finite number into memory has no way to fail.
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// As Arrow displays it. A time stamp with a zone is shown in UTC, which Arrow stores: Arrow's own
/// way needs a data base of zones.
fn write_display(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let in_utc: ArrayRef;
    let (array, row) = match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            in_utc = utc(array.slice(row, 1), *unit);
            (&*in_utc as &dyn Array, 0)
        }
        _ => (array, row),
    };
    let options = FormatOptions::new().with_null("null");
    let written = match ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => write!(out, "{}", formatter.value(row)),
        Err(error) => write!(out, "{error}"),
    };
    debug_assert!(written.is_ok(), "{written:?}");
}

fn utc(array: ArrayRef, unit: TimeUnit) -> ArrayRef {
    use std::sync::Arc;
    const UTC: &str = "+00:00";
    match unit {
        TimeUnit::Second => Arc::new(
            array
                .as_primitive::<TimestampSecondType>()
                .clone()
                .with_timezone(UTC),
        ),
        TimeUnit::Millisecond => Arc::new(
            array
                .as_primitive::<TimestampMillisecondType>()
                .clone()
                .with_timezone(UTC),
        ),
        TimeUnit::Microsecond => Arc::new(
            array
                .as_primitive::<TimestampMicrosecondType>()
                .clone()
                .with_timezone(UTC),
        ),
        TimeUnit::Nanosecond => Arc::new(
            array
                .as_primitive::<TimestampNanosecondType>()
                .clone()
                .with_timezone(UTC),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int32Type as Key;
    use arrow_array::*;
    use arrow_buffer::{NullBuffer, OffsetBuffer};
    use arrow_schema::Field;
    use half::f16;

    use super::*;

    fn both(array: &dyn Array, row: usize) -> (String, String) {
        let (mut as_json, mut as_text) = (Vec::new(), b"\"kept\"".to_vec());
        write_json(array, row, &mut as_json);
        write_text(array, row, &mut as_text);
        let as_text = String::from_utf8(as_text).unwrap();
        let as_json = String::from_utf8(as_json).unwrap();
        assert!(
            serde_json::from_str::<serde_json::Value>(&as_json).is_ok(),
            "{as_json}"
        );
        (
            as_json,
            as_text.strip_prefix("\"kept\"").unwrap().to_owned(),
        )
    }

    /// Values would come back altered, or the line be no JSON.
    #[test]
    fn every_type_is_written() {
        let embedding = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            [Some([Some(0.1), Some(-1e-30), Some(16_777_216.0)])],
            3,
        );
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a\"b"), None]));
        let list = ListArray::new(
            Arc::new(Field::new_list_field(DataType::Utf8, true)),
            OffsetBuffer::from_lengths([2]),
            Arc::clone(&strings),
            None,
        );
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, 1]));
        let object = StructArray::from(vec![
            (Arc::new(Field::new("s", DataType::Utf8, true)), strings),
            (Arc::new(Field::new("n", DataType::Int64, true)), numbers),
        ]);
        let dictionary: DictionaryArray<Key> = [Some("x"), None, Some("y")].into_iter().collect();
        let zoned = TimestampMillisecondArray::from(vec![1_577_836_800_123]);
        let cases: Vec<(ArrayRef, usize, &str, &str)> = vec![
            (
                Arc::new(StringArray::from(vec!["a\n\"é"])),
                0,
                r#""a\n\"é""#,
                "a\n\"é",
            ),
            (Arc::new(LargeStringArray::from(vec!["a"])), 0, "\"a\"", "a"),
            (Arc::new(StringViewArray::from(vec!["a"])), 0, "\"a\"", "a"),
            (
                Arc::new(StringArray::from(vec![None::<&str>])),
                0,
                "null",
                "",
            ),
            (Arc::new(NullArray::new(1)), 0, "null", ""),
            (Arc::new(BooleanArray::from(vec![true])), 0, "true", "true"),
            (
                Arc::new(Int64Array::from(vec![i64::MAX])),
                0,
                "9223372036854775807",
                "9223372036854775807",
            ),
            (
                Arc::new(UInt64Array::from(vec![u64::MAX])),
                0,
                "18446744073709551615",
                "18446744073709551615",
            ),
            (Arc::new(Float32Array::from(vec![0.1])), 0, "0.1", "0.1"),
            (
                Arc::new(Float32Array::from(vec![f32::NAN])),
                0,
                "\"NaN\"",
                "NaN",
            ),
            (Arc::new(Float64Array::from(vec![0.1])), 0, "0.1", "0.1"),
            (
                Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])),
                0,
                "\"-Infinity\"",
                "-Infinity",
            ),
            (
                Arc::new(Float16Array::from(vec![f16::from_f32(0.5)])),
                0,
                "0.5",
                "0.5",
            ),
            (
                Arc::new(embedding),
                0,
                "[0.1,-1e-30,16777216.0]",
                "[0.1,-1e-30,16777216.0]",
            ),
            (Arc::new(list), 0, r#"["a\"b",null]"#, r#"["a\"b",null]"#),
            (
                Arc::new(object),
                0,
                r#"{"s":"a\"b","n":-9223372036854775808}"#,
                r#"{"s":"a\"b","n":-9223372036854775808}"#,
            ),
            (Arc::new(dictionary.clone()), 2, "\"y\"", "y"),
            (Arc::new(dictionary), 1, "null", ""),
            (
                Arc::new(BinaryArray::from(vec![&b"\x01\xff"[..]])),
                0,
                "\"01ff\"",
                "01ff",
            ),
            (
                Arc::new(Date32Array::from(vec![18_262])),
                0,
                "\"2020-01-01\"",
                "2020-01-01",
            ),
            (
                Arc::new(zoned.clone()),
                0,
                "\"2020-01-01T00:00:00.123\"",
                "2020-01-01T00:00:00.123",
            ),
            (
                Arc::new(zoned.with_timezone("Europe/Paris")),
                0,
                "\"2020-01-01T00:00:00.123Z\"",
                "2020-01-01T00:00:00.123Z",
            ),
            (
                Arc::new(
                    Decimal128Array::from(vec![12_345])
                        .with_precision_and_scale(38, 2)
                        .unwrap(),
                ),
                0,
                "123.45",
                "123.45",
            ),
        ];
        for (array, row, as_json, as_text) in cases {
            let expected = (as_json.to_owned(), as_text.to_owned());
            assert_eq!(both(&*array, row), expected, "{}", array.data_type());
        }
    }

    /// A map would lose its entries, a null list turn into an empty one.
    #[test]
    fn maps_and_null_lists() {
        let mut map = builder::MapBuilder::new(
            None,
            builder::StringBuilder::new(),
            builder::Int32Builder::new(),
        );
        map.keys().append_value("k");
        map.values().append_value(7);
        map.append(true).unwrap();
        assert_eq!(both(&map.finish(), 0).0, r#"{"k":7}"#);

        let nulls = NullBuffer::from(vec![false]);
        let item = Arc::new(Field::new_list_field(DataType::Float32, true));
        let values: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 2.0]));
        let none = FixedSizeListArray::new(item, 2, values, Some(nulls));
        assert_eq!(both(&none, 0), ("null".to_owned(), String::new()));
    }

    /// Answers would not read back to the bits that the model gave.
    #[test]
    fn f32_digits_read_back_to_the_same_bits() {
        let mut state = 1u32;
        for _ in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(state);
            if value.is_finite() {
                let mut out = Vec::new();
                write_f32(value, &mut out);
                let back: f32 = std::str::from_utf8(&out).unwrap().parse().unwrap();
                assert_eq!(back.to_bits(), value.to_bits());
            }
        }
    }
}
