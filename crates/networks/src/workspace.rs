//! The buffers of one worker.

use kernels::{AlignedVec, AttentionScratch, QuantizeScratch};

use crate::encoder::Distinct;
use crate::profile::OperatorProfile;

/// Room for the activations of one batch. It grows to the largest batch that it has seen and is
/// then reused, so that a worker allocates nothing in steady state. One workspace serves any number
/// of networks, one after the other.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Rows of the position table, one a token.
    pub(crate) positions: Vec<u32>,
    pub(crate) distinct: Distinct,
    /// `[tokens][hidden]`: what goes into a layer and what comes out of it.
    pub(crate) x: AlignedVec<f32>,
    /// `[tokens][hidden]`: behind the attention's layer norm.
    pub(crate) y: AlignedVec<f32>,
    /// `[tokens][3 * hidden]`: queries, keys and values.
    pub(crate) qkv: AlignedVec<f32>,
    /// `[tokens][hidden]`: what the heads put together.
    pub(crate) attended: AlignedVec<f32>,
    /// `[rows of one block][intermediate]`.
    pub(crate) inner: AlignedVec<f32>,
    /// Rows of the head's dense layers and of pooling.
    pub(crate) rows_a: AlignedVec<f32>,
    pub(crate) rows_b: AlignedVec<f32>,
    pub(crate) attention: AttentionScratch,
    pub(crate) quantize: QuantizeScratch,
    pub(crate) profile: OperatorProfile,
}

impl Workspace {
    /// What the operators have cost since the last call; counting begins anew.
    pub fn take_profile(&mut self) -> OperatorProfile {
        std::mem::take(&mut self.profile)
    }

    /// Bytes that the buffers take.
    pub fn bytes(&self) -> usize {
        [
            &self.x,
            &self.y,
            &self.qkv,
            &self.attended,
            &self.inner,
            &self.rows_a,
            &self.rows_b,
        ]
        .into_iter()
        .map(AlignedVec::bytes)
        .sum::<usize>()
            + self.attention.bytes()
            + self.quantize.bytes()
            + self.distinct.bytes()
            + self.positions.capacity() * size_of::<u32>()
    }
}
