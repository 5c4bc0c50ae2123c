//! Self-attention over texts of different lengths, without padding and without a mask.
//!
//! Each pair of a text and a head is one piece of work; the team's parts draw pieces until none is
//! left. Within a piece a panel of queries at a time (16 with AVX2) goes through scores, softmax and the
//! product with the values, so that memory holds one strip of scores, `[keys][queries of a panel]` (64 KB
//! for 1,024 tokens), never `[heads][n][n]`.
//!
//! The strip has keys for rows and queries for lanes: the softmax then goes down the rows, whole vectors
//! at a time, where the other way round each query would end in sums across the lanes of a register;
//! and only the queries have to be transposed, not all the keys.

mod head;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicUsize;

use crate::error::{ShapeError, check_length, check_nonzero, check_product};
use crate::memory::AlignedVec;
use crate::packing::geometry;
use crate::pooling::total;
use crate::simd::dispatch;
use crate::team::{Cpu, Shared, run_parts};
use head::{Heads, Plan};

const OPERATOR: &str = "attention";

/// What is added to the score of a query and a key by how far apart they are, as in MPNet and T5.
#[derive(Copy, Clone, Debug)]
pub struct PositionBias<'a> {
    /// `[heads][2·span + 1]`: the value for distance d = key - query lies at d + span; beyond ±span
    /// the outermost value holds.
    pub table: &'a [f32],
    /// The largest distance with a value of its own.
    pub span: usize,
}

/// Queries, keys and values of all texts, and their shape.
#[derive(Copy, Clone, Debug)]
pub struct AttentionInput<'a> {
    /// `[tokens][3·heads·head_dim]`: a token's query, then its key, then its value, heads side by side
    /// in each. Queries are scaled already: by 1/√head_dim, usually folded into their weights.
    pub qkv: &'a [f32],
    /// Tokens of each text; they add up to all tokens.
    pub lengths: &'a [usize],
    /// Heads.
    pub heads: usize,
    /// Values of one head; any number, multiples of two vectors are fastest.
    pub head_dim: usize,
    /// Added to the scores, if the model has it.
    pub position_bias: Option<PositionBias<'a>>,
}

/// Buffers of [`attention`], one for each part of a team. They grow to the longest text and are then
/// used again.
#[derive(Clone, Debug, Default)]
pub struct AttentionScratch {
    parts: Vec<AlignedVec<f32>>,
}

impl AttentionScratch {
    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(AlignedVec::bytes).sum()
    }

    fn ensure(&mut self, parts: usize, values: usize) {
        if self.parts.len() < parts {
            self.parts.resize_with(parts, AlignedVec::default);
        }
        for part in &mut self.parts {
            part.ensure(values);
        }
    }
}

/// softmax(Q·Kᵀ + position bias)·V for each text and head (Vaswani et al. 2017, equation 1), written to
/// `out`, `[tokens][heads·head_dim]`.
///
/// A text's result depends on that text alone, bit for bit. The softmax subtracts each row's largest
/// score, so that no score overflows; a NaN in a text's scores makes the rows which see it NaN.
///
/// # Errors
/// Lengths that do not add up to the tokens there are, or a slice of another size.
///
/// ```
/// use batchwright_kernels::{AttentionInput, AttentionScratch, Cpu, attention};
/// // One text of two tokens, one head of one value. Keys are zero, so every score is: the mean of values.
/// let qkv = [1.0, 0.0, 4.0, /* second token */ 1.0, 0.0, 6.0];
/// let input =
///     AttentionInput { qkv: &qkv, lengths: &[2], heads: 1, head_dim: 1, position_bias: None };
/// let mut out = [0.0; 2];
/// attention(Cpu::solo(), input, &mut AttentionScratch::default(), &mut out)?;
/// assert_eq!(out, [5.0, 5.0]);
/// # Ok::<(), batchwright_kernels::ShapeError>(())
/// ```
pub fn attention(
    cpu: Cpu<'_>,
    input: AttentionInput<'_>,
    scratch: &mut AttentionScratch,
    out: &mut [f32],
) -> Result<(), ShapeError> {
    check(&input, out)?;
    let Some(longest) = input.lengths.iter().copied().max() else {
        return Ok(());
    };
    let plan = Plan::new(longest, input.head_dim, geometry(cpu.isa).panel);
    scratch.ensure(cpu.team.size().max(1), plan.values());
    let next = AtomicUsize::new(0);
    let (out, buffers) = (Shared::new(out), Shared::new(&mut scratch.parts));
    run_parts(cpu.team, |part, _| {
        // SAFETY: each part runs once, so it alone has the buffer of its number.
        let buffers = unsafe { buffers.slice(part..part + 1) };
        if let Some(buffer) = buffers.first_mut() {
            dispatch(
                cpu.isa,
                Heads {
                    input: &input,
                    next: &next,
                    buffer,
                    out: out.pointer(),
                },
            );
        }
    });
    Ok(())
}

fn check(input: &AttentionInput<'_>, out: &[f32]) -> Result<(), ShapeError> {
    check_nonzero(OPERATOR, "heads", input.heads)?;
    check_nonzero(OPERATOR, "head_dim", input.head_dim)?;
    let tokens = total(OPERATOR, input.lengths)?;
    let size = check_product(OPERATOR, &[tokens, 3, input.heads, input.head_dim])?;
    check_length(OPERATOR, "qkv", size, input.qkv.len())?;
    check_length(OPERATOR, "out", size / 3, out.len())?;
    check_product(OPERATOR, &[input.lengths.len(), input.heads])?;
    if let Some(bias) = input.position_bias {
        let row = check_product(OPERATOR, &[bias.span, 2])?.checked_add(1);
        let row = row.ok_or(ShapeError::Overflow { operator: OPERATOR })?;
        let size = check_product(OPERATOR, &[input.heads, row])?;
        check_length(OPERATOR, "position_bias.table", size, bias.table.len())?;
    }
    Ok(())
}
