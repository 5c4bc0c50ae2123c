//! Cutting a window into batches.

use crate::{Budget, Padding};

/// A window's rows in the order in which they run, cut into batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Row indices, longest first.
    order: Vec<u32>,
    /// End of each batch in `order`.
    ends: Vec<usize>,
    padding: Padding,
}

impl Plan {
    /// The batches in the order in which they should start, each a slice of row indices.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.ends.iter().enumerate().map(|(i, &end)| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            &self.order[start..end]
        })
    }

    /// What padding each batch to its longest row would have cost.
    pub fn padding(&self) -> Padding {
        self.padding
    }
}

/// Sorts rows by length, longest first, and cuts them into batches within `budget`.
///
/// `lengths[i]` is row i's length in tokens. Every row is in exactly one batch. The longest run
/// first, so that the last batches to finish are short ones and workers end together; rows of equal
/// length keep their order, so the plan is a function of the lengths alone.
pub fn plan(lengths: &[u32], budget: Budget) -> Plan {
    let mut order: Vec<u32> = (0..lengths.len() as u32).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row as usize]));

    let mut ends = Vec::new();
    let mut padding = Padding::default();
    let (mut rows, mut tokens, mut longest) = (0, 0, 0);
    let mut rest: usize = lengths.iter().map(|&length| length as usize).sum();
    let mut admitted = budget.at_end(rest);
    for (at, &row) in order.iter().enumerate() {
        let length = lengths[row as usize] as usize;
        if !admitted.admits(rows, tokens, length) {
            ends.push(at);
            padding.add_batch(rows, tokens, longest);
            rest -= tokens;
            admitted = budget.at_end(rest);
            (rows, tokens, longest) = (0, 0, 0);
        }
        rows += 1;
        tokens += length;
        longest = longest.max(length);
    }
    if rows > 0 {
        ends.push(order.len());
        padding.add_batch(rows, tokens, longest);
    }
    Plan {
        order,
        ends,
        padding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lengths, budget, the batches expected.
    type Case<'a> = (&'a [u32], Budget, &'a [&'a [u32]]);

    /// A row planned twice or never would be a wrong or a missing answer.
    #[test]
    fn small_windows_are_cut_as_expected() {
        let cases: &[Case] = &[
            (&[], Budget::tokens(10), &[]),
            (&[7], Budget::tokens(10), &[&[0]]),
            (&[70], Budget::tokens(10), &[&[0]]),
            (&[0, 0], Budget::tokens(1), &[&[0, 1]]),
            (&[5, 5], Budget::tokens(10), &[&[0, 1]]),
            (&[5, 6], Budget::tokens(10), &[&[1], &[0]]),
            (&[1, 1, 1], Budget::tokens(10).rows(2), &[&[0, 1], &[2]]),
            (&[1, 30, 1], Budget::tokens(10), &[&[1], &[0, 2]]),
        ];
        for (lengths, budget, expected) in cases {
            let plan = plan(lengths, *budget);
            assert_eq!(
                plan.batches().collect::<Vec<_>>(),
                *expected,
                "{lengths:?} at {budget:?}"
            );
        }
    }

    proptest! {
        /// Whatever the lengths and the budget: none lost, none twice, no budget exceeded, longest first.
        #[test]
        fn every_row_runs_once_within_budget(
            lengths in prop::collection::vec(0u32..600, 0..300),
            tokens in 1usize..1_000,
            rows in 1usize..40,
        ) {
            let plan = plan(&lengths, Budget::tokens(tokens).rows(rows));
            let mut seen = vec![0; lengths.len()];
            let mut before = u32::MAX;
            for batch in plan.batches() {
                prop_assert!(!batch.is_empty());
                prop_assert!(batch.len() <= rows);
                let sum: usize = batch.iter().map(|&r| lengths[r as usize] as usize).sum();
                prop_assert!(sum <= tokens || batch.len() == 1);
                for &row in batch {
                    seen[row as usize] += 1;
                    prop_assert!(lengths[row as usize] <= before);
                    before = lengths[row as usize];
                }
            }
            prop_assert!(seen.iter().all(|&n| n == 1));
        }

        /// One worker would end alone with a whole batch, up to half of a small job.
        #[test]
        fn workers_end_together(
            lengths in prop::collection::vec(1u32..64, 1..400),
            workers in 2usize..5,
        ) {
            let plan = plan(&lengths, Budget::tokens(384).workers(workers));
            let mut ends = vec![0usize; workers];
            for batch in plan.batches() {
                let tokens: usize = batch.iter().map(|&r| lengths[r as usize] as usize).sum();
                if let Some(first) = ends.iter_mut().min() {
                    *first += tokens;
                }
            }
            let (least, most) = (ends.iter().min(), ends.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 192, "{ends:?}");
        }

        /// Two neighbouring batches that would have fitted one are a batch too many.
        #[test]
        fn batches_are_filled(
            lengths in prop::collection::vec(1u32..300, 0..200),
            tokens in 1usize..600,
        ) {
            let budget = Budget::tokens(tokens);
            let plan = plan(&lengths, budget);
            let batches: Vec<_> = plan.batches().collect();
            for pair in batches.windows(2) {
                let sum: usize = pair[0].iter().map(|&r| lengths[r as usize] as usize).sum();
                prop_assert!(sum + lengths[pair[1][0] as usize] as usize > tokens);
            }
        }
    }
}
