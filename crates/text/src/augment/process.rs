//! Where edits fall, drawn from one edit to the next rather than place by place.

use super::alias::Alias;
use super::kind::{Kind, Unit};
use super::random::Numbers;

/// Gaps that the table holds; the last outcome stands for "this many or more".
const LONGEST: usize = 255;
/// Operations of one unit at most.
const KINDS: usize = 16;

// One that is beyond these would never act.
const _: () = {
    let (mut at, mut characters, mut words) = (0, 0, 0);
    while at < Kind::ALL.len() {
        match Kind::ALL[at].unit() {
            Unit::Character => characters += 1,
            Unit::Word => words += 1,
            Unit::Row => {}
        }
        at += 1;
    }
    assert!(characters <= KINDS && words <= KINDS);
};

/// At every place the operation `k` acts with the chance `p_k`, and at most one does. So the places
/// between two edits are geometric with the sum of the chances, and one number gives both the gap
/// (36 bits) and the operation (28 bits).
#[derive(Clone, Debug)]
pub(crate) struct Process {
    gaps: Alias<256, 28>,
    kinds: Alias<KINDS, 24>,
    of: [Kind; KINDS],
}

impl Process {
    /// For operations with their chances; nothing if none has one.
    pub(crate) fn new(chances: &[(Kind, f64)]) -> Option<Process> {
        let sum: f64 = chances.iter().map(|(_, p)| p).sum();
        let p = sum.min(1.0);
        if p <= 0.0 {
            return None;
        }
        let mut none = 1.0;
        let mut gaps = [0.0; LONGEST + 1];
        for gap in &mut gaps[..LONGEST] {
            *gap = none * p;
            none *= 1.0 - p;
        }
        gaps[LONGEST] = none;
        let mut of = [chances[0].0; KINDS];
        let mut weights = [0.0; KINDS];
        for (at, (kind, p)) in chances.iter().take(KINDS).enumerate() {
            of[at] = *kind;
            weights[at] = *p;
        }
        Some(Process {
            gaps: Alias::new(&gaps),
            kinds: Alias::new(&weights),
            of,
        })
    }

    /// The next place from `at` on, below `count`, where an operation acts, and which.
    pub(crate) fn next(
        &self,
        numbers: &mut Numbers,
        mut at: usize,
        count: usize,
    ) -> Option<(usize, Kind)> {
        loop {
            let number = numbers.draw();
            let gap = self.gaps.pick(number);
            at = at.checked_add(gap).filter(|at| *at < count)?;
            if gap < LONGEST {
                let kind = self.kinds.pick(number >> Alias::<256, 28>::BITS);
                return Some((at, self.of[kind]));
            }
        }
    }
}
