//! How many bytes each row of a batch counts.
//!
//! A shard ends when its rows count too many bytes, and must end at the same row however the rows
//! came in chunks: so a row's count may depend on nothing but the row.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

/// The bytes that each row counts: those of its values, near enough to what they take in memory.
pub(crate) fn row_sizes(batch: &RecordBatch) -> Vec<u64> {
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|array| value_size(array, row))
                .sum()
        })
        .collect()
}

fn value_size(array: &ArrayRef, row: usize) -> u64 {
    // What a null and the offset of a value take, about.
    const SMALL: u64 = 4;
    if array.is_null(row) {
        return SMALL;
    }
    let bytes = match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).len(),
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value(row).len(),
        DataType::LargeBinary => array.as_binary::<i64>().value(row).len(),
        DataType::BinaryView => array.as_binary_view().value(row).len(),
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
        DataType::FixedSizeList(_, _) => {
            return SMALL + values_size(&array.as_fixed_size_list().value(row));
        }
        DataType::List(_) => return SMALL + values_size(&array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => return SMALL + values_size(&array.as_list::<i64>().value(row)),
        DataType::Struct(_) => {
            return array
                .as_struct()
                .columns()
                .iter()
                .map(|child| value_size(child, row))
                .sum();
        }
        DataType::Map(_, _) => {
            let entries = array.as_map().value(row);
            return SMALL + entries.columns().iter().map(values_size).sum::<u64>();
        }
        other => other.primitive_width().unwrap_or(8),
    };
    SMALL + bytes as u64
}

fn values_size(values: &ArrayRef) -> u64 {
    match values.data_type().primitive_width() {
        Some(width) => (width * values.len()) as u64,
        None => (0..values.len()).map(|at| value_size(values, at)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Float32Type;
    use arrow_array::{FixedSizeListArray, ListArray, StringArray};

    use super::*;

    /// Memory would grow with the length of rows, or a resumed job cut its shards elsewhere.
    #[test]
    fn a_row_counts_the_same_in_any_slice() {
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("abc"), None, Some("é")]));
        let vectors: ArrayRef =
            Arc::new(
                FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                    [Some([Some(1.0), Some(2.0)]), None, Some([Some(1.0), None])],
                    2,
                ),
            );
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0)]),
            Some(vec![]),
            None,
        ]));
        let batch =
            RecordBatch::try_from_iter([("s", strings), ("v", vectors), ("l", lists)]).unwrap();
        let whole = row_sizes(&batch);
        assert_eq!(whole, [7 + 12 + 8, 4 + 4 + 4, 6 + 12 + 4]);
        for (row, size) in whole.iter().enumerate() {
            assert_eq!(row_sizes(&batch.slice(row, 1)), [*size]);
        }
    }
}
