//! The parts of reused buffers that one batch needs. Buffers only grow, so that they are longer
//! than what a small batch uses.

/// The first `length` values.
pub(crate) fn part(values: &[f32], length: usize) -> &[f32] {
    values.get(..length).unwrap_or(values)
}

/// The first `length` values, to be written.
pub(crate) fn part_mut(values: &mut [f32], length: usize) -> &mut [f32] {
    let length = length.min(values.len());
    &mut values[..length]
}
