//! What `--on-error stop` stops at: rows with which something new is wrong.

use data::{AnswerColumns, Chunk, Written};

/// The first error of a chunk's rows or their answers, which is found before they are written.
pub(crate) fn first_error(chunk: &Chunk, answers: &AnswerColumns) -> Option<String> {
    let error = (0..chunk.len()).find_map(|row| match (&chunk.rows[row], &answers.errors[row]) {
        (Err(error), _) | (_, Some(error)) => Some(error),
        _ => None,
    });
    Some(format!("{} (--on-error stop)", error?))
}

/// Where a value had no place in the output, which is found as it is written. What an earlier run said of
/// a row is nothing new.
pub(crate) fn misfit(chunk: &Chunk, written: Written) -> Option<String> {
    let (first, last) = (chunk.first_row + 1, chunk.first_row + written.rows);
    (written.failed_rows > written.failed_before).then(|| {
        format!(
            "between rows {first} and {last} a value has no place in the output; its column `error` \
             tells (--on-error stop)"
        )
    })
}
