//! Embeddings: the sum of a word's, a position's and a type's row.

use crate::error::{ShapeError, check_length, check_nonzero, check_product, check_rows};
use crate::team::{Shared, Team, run_parts, share};

const OPERATOR: &str = "embed";

/// The tables whose rows are added. Each holds whole rows of `width` values.
#[derive(Copy, Clone, Debug)]
pub struct EmbeddingTables<'a> {
    /// `[vocabulary][width]`.
    pub words: &'a [f32],
    /// `[positions][width]`, where the model has learnt positions.
    pub positions: Option<&'a [f32]>,
    /// `[types][width]`, where the model tells segments apart.
    pub types: Option<&'a [f32]>,
    /// Values in a row.
    pub width: usize,
}

/// Which rows each token takes.
#[derive(Copy, Clone, Debug)]
pub struct EmbeddingIds<'a> {
    /// The token ids, of all texts one after the other.
    pub words: &'a [u32],
    /// A position for each token, counted as the model counts; ignored without a table.
    pub positions: &'a [u32],
    /// A type for each token; empty means zero for all. Ignored without a table.
    pub types: &'a [u8],
}

/// Writes (word + type) + position to each row of `out`, `[tokens][width]`.
///
/// There is one version for all instruction sets: it waits for memory, not for arithmetic.
///
/// # Errors
/// A length that does not fit, or an id beyond its table. Then nothing is written.
///
/// ```
/// use batchwright_kernels::{EmbeddingIds, EmbeddingTables, Solo, embed};
/// let tables = EmbeddingTables {
///     words: &[1.0, 2.0, 3.0],
///     positions: Some(&[0.0, 10.0]),
///     types: None,
///     width: 1,
/// };
/// let ids = EmbeddingIds { words: &[2, 0], positions: &[0, 1], types: &[] };
/// let mut out = [0.0; 2];
/// embed(&Solo, tables, ids, &mut out)?;
/// assert_eq!(out, [3.0, 11.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
pub fn embed(
    team: &dyn Team,
    tables: EmbeddingTables<'_>,
    ids: EmbeddingIds<'_>,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    let width = tables.width;
    let tokens = ids.words.len();
    check_nonzero(OPERATOR, "the row width", width)?;
    check_length(
        OPERATOR,
        "out",
        check_product(OPERATOR, &[tokens, width])?,
        out.len(),
    )?;
    check_table(
        "word",
        tables.words,
        width,
        ids.words.iter().map(|&id| id as usize),
    )?;
    if let Some(table) = tables.positions {
        check_length(OPERATOR, "positions", tokens, ids.positions.len())?;
        check_table(
            "position",
            table,
            width,
            ids.positions.iter().map(|&id| id as usize),
        )?;
    }
    if let Some(table) = tables.types {
        if ids.types.is_empty() {
            check_table("type", table, width, (tokens > 0).then_some(0).into_iter())?;
        } else {
            check_length(OPERATOR, "types", tokens, ids.types.len())?;
            check_table(
                "type",
                table,
                width,
                ids.types.iter().map(|&id| usize::from(id)),
            )?;
        }
    }
    let out = Shared::new(out);
    run_parts(team, |part, parts| {
        for token in share(tokens, part, parts) {
            // SAFETY: parts have disjoint shares of the tokens.
            let out = unsafe { out.slice(token * width..(token + 1) * width) };
            out.copy_from_slice(row(tables.words, width, ids.words[token] as usize));
            if let Some(table) = tables.types {
                let id = ids.types.get(token).map_or(0, |&id| usize::from(id));
                add(out, row(table, width, id));
            }
            if let Some(table) = tables.positions {
                add(out, row(table, width, ids.positions[token] as usize));
            }
        }
    });
    Ok(())
}

fn row(table: &[f32], width: usize, id: usize) -> &[f32] {
    &table[id * width..(id + 1) * width]
}

fn add(out: &mut [f32], row: &[f32]) {
    for (out, value) in out.iter_mut().zip(row) {
        *out += value;
    }
}

fn check_table(
    argument: &'static str,
    table: &[f32],
    width: usize,
    ids: impl Iterator<Item = usize>,
) -> Result<(), ShapeError> {
    let rows = check_rows(OPERATOR, argument, width, table.len())?;
    for (token, index) in ids.enumerate() {
        if index >= rows {
            return Err(ShapeError::Index {
                operator: OPERATOR,
                argument,
                token,
                index,
                rows,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{noise, same_bits};
    use crate::team::Solo;
    use crate::team::tests::Threads;

    /// A user would lose the meaning of every token, or of its place.
    #[test]
    fn rows_are_the_sums_of_their_parts() {
        for width in [1, 5, 16, 17, 384] {
            let (words, positions, types) = (
                noise(9 * width, 1),
                noise(6 * width, 2),
                noise(2 * width, 3),
            );
            let ids = EmbeddingIds {
                words: &[8, 0, 3, 3],
                positions: &[2, 3, 4, 5],
                types: &[0, 0, 1, 1],
            };
            for (with_positions, with_types, type_ids) in [
                (None, None, &ids.types[..0]),
                (Some(&positions[..]), None, ids.types),
                (None, Some(&types[..]), ids.types),
                (Some(&positions[..]), Some(&types[..]), &[]),
                (Some(&positions[..]), Some(&types[..]), ids.types),
            ] {
                let tables = EmbeddingTables {
                    words: &words,
                    positions: with_positions,
                    types: with_types,
                    width,
                };
                let ids = EmbeddingIds {
                    types: type_ids,
                    ..ids
                };
                let mut want = vec![0.0; 4 * width];
                for (i, want) in want.iter_mut().enumerate() {
                    let (token, column) = (i / width, i % width);
                    let at = |row: usize| row * width + column;
                    let kind = type_ids.get(token).map_or(0, |&id| usize::from(id));
                    *want = words[at(ids.words[token] as usize)]
                        + with_types.map_or(0.0, |types| types[at(kind)]);
                    *want += with_positions.map_or(0.0, |p| p[at(ids.positions[token] as usize)]);
                }
                for parts in 1..=3 {
                    let mut got = vec![f32::NAN; 4 * width];
                    embed(&Threads(parts), tables, ids, &mut got).unwrap();
                    assert!(same_bits(&got, &want), "width {width}, {parts} parts");
                }
            }
        }
    }

    /// A user would lose the process to one bad id, or get another word's row.
    #[test]
    fn bad_ids_and_sizes_are_refused_before_anything_is_written() {
        let tables = EmbeddingTables {
            words: &[1.0; 6],
            positions: Some(&[1.0; 4]),
            types: Some(&[1.0; 2]),
            width: 2,
        };
        let good = EmbeddingIds {
            words: &[0, 2],
            positions: &[0, 1],
            types: &[],
        };
        let index = |argument, token, index, rows| ShapeError::Index {
            operator: OPERATOR,
            argument,
            token,
            index,
            rows,
        };
        let length = |argument, expected, found| ShapeError::Length {
            operator: OPERATOR,
            argument,
            expected,
            found,
        };
        let cases = [
            (
                tables,
                EmbeddingIds {
                    words: &[0, 3],
                    ..good
                },
                index("word", 1, 3, 3),
            ),
            (
                tables,
                EmbeddingIds {
                    positions: &[2, 0],
                    ..good
                },
                index("position", 0, 2, 2),
            ),
            (
                tables,
                EmbeddingIds {
                    types: &[0, 1],
                    ..good
                },
                index("type", 1, 1, 1),
            ),
            (
                tables,
                EmbeddingIds {
                    positions: &[0],
                    ..good
                },
                length("positions", 2, 1),
            ),
            (
                tables,
                EmbeddingIds {
                    types: &[0],
                    ..good
                },
                length("types", 2, 1),
            ),
            (
                tables,
                EmbeddingIds {
                    words: &[0],
                    ..good
                },
                length("out", 2, 4),
            ),
            (
                EmbeddingTables {
                    types: Some(&[]),
                    ..tables
                },
                good,
                index("type", 0, 0, 0),
            ),
        ];
        for (tables, ids, want) in cases {
            let mut out = [7.0; 4];
            assert_eq!(embed(&Solo, tables, ids, &mut out), Err(want));
            assert_eq!(out, [7.0; 4]);
        }
        let none = EmbeddingIds {
            words: &[],
            positions: &[],
            types: &[],
        };
        assert_eq!(embed(&Solo, tables, none, &mut []), Ok(()));
    }
}
