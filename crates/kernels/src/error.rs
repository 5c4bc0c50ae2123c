//! The one error of this crate: slices whose lengths do not fit each other.

use thiserror::Error;

/// Slices or sizes which do not fit each other.
///
/// Every public operator checks its arguments before it reads or writes anything, so that an error
/// leaves the outputs as they were and no safe call can read out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// A slice has another length than its shape asks for.
    #[error("{operator}: {argument} holds {found} values, but its shape asks for {expected}")]
    Length {
        /// The operator that was called.
        operator: &'static str,
        /// The argument that does not fit.
        argument: &'static str,
        /// How many values the shape asks for.
        expected: usize,
        /// How many values there are.
        found: usize,
    },
    /// A slice does not hold whole rows.
    #[error(
        "{operator}: {argument} holds {found} values, which is no multiple of its row width {width}"
    )]
    Ragged {
        /// The operator that was called.
        operator: &'static str,
        /// The argument that does not fit.
        argument: &'static str,
        /// Values in one row.
        width: usize,
        /// How many values there are.
        found: usize,
    },
    /// A size that must be at least one is zero.
    #[error("{operator}: {argument} is 0; it must be at least 1")]
    Zero {
        /// The operator that was called.
        operator: &'static str,
        /// The argument that is zero.
        argument: &'static str,
    },
    /// An index (a token id, a position, a type) beyond the end of its table.
    #[error("{operator}: {argument} {index} at token {token} is outside its table of {rows} rows")]
    Index {
        /// The operator that was called.
        operator: &'static str,
        /// Which index: word, position or type.
        argument: &'static str,
        /// The token that carries it, counted over the whole batch.
        token: usize,
        /// The index.
        index: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// A product of sizes does not fit the address space.
    #[error("{operator}: the sizes multiply to more values than memory can address")]
    Overflow {
        /// The operator that was called.
        operator: &'static str,
    },
}

/// Checks that `argument` holds exactly `expected` values.
pub(crate) fn check_length(
    operator: &'static str,
    argument: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), ShapeError> {
    if expected == found {
        Ok(())
    } else {
        Err(ShapeError::Length {
            operator,
            argument,
            expected,
            found,
        })
    }
}

/// Checks that `argument` holds whole rows of `width` values, and returns how many.
pub(crate) fn check_rows(
    operator: &'static str,
    argument: &'static str,
    width: usize,
    found: usize,
) -> Result<usize, ShapeError> {
    check_nonzero(operator, "the row width", width)?;
    if found.is_multiple_of(width) {
        Ok(found / width)
    } else {
        Err(ShapeError::Ragged {
            operator,
            argument,
            width,
            found,
        })
    }
}

/// Checks that a size is at least one.
pub(crate) fn check_nonzero(
    operator: &'static str,
    argument: &'static str,
    size: usize,
) -> Result<(), ShapeError> {
    if size == 0 {
        Err(ShapeError::Zero { operator, argument })
    } else {
        Ok(())
    }
}

/// Multiplies sizes, refusing a product that would wrap.
pub(crate) fn check_product(operator: &'static str, sizes: &[usize]) -> Result<usize, ShapeError> {
    sizes
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .ok_or(ShapeError::Overflow { operator })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user would lose the sentence that says which argument is wrong and by how much.
    #[test]
    fn messages_name_operator_argument_and_sizes() {
        let cases = [
            (
                check_length("linear", "y", 6, 5).unwrap_err().to_string(),
                "linear: y holds 5 values, but its shape asks for 6",
            ),
            (
                check_rows("layer_norm", "x", 4, 5).unwrap_err().to_string(),
                "layer_norm: x holds 5 values, which is no multiple of its row width 4",
            ),
            (
                check_rows("layer_norm", "x", 0, 0).unwrap_err().to_string(),
                "layer_norm: the row width is 0; it must be at least 1",
            ),
            (
                check_product("attention", &[usize::MAX, 2])
                    .unwrap_err()
                    .to_string(),
                "attention: the sizes multiply to more values than memory can address",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        assert_eq!(check_rows("x", "x", 3, 12), Ok(4));
        assert_eq!(check_product("x", &[3, 0, 5]), Ok(0));
    }
}
