//! Handing back in input order what finishes out of order.

use std::collections::VecDeque;

/// Puts numbered items back in order.
///
/// Items arrive by sequence number in any order and leave in order, each once. It holds as many as
/// have arrived ahead of their turn; whoever feeds it bounds that by bounding what is in flight.
#[derive(Debug)]
pub struct InOrder<T> {
    next: u64,
    waiting: VecDeque<Option<T>>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            next: 0,
            waiting: VecDeque::new(),
        }
    }
}

impl<T> InOrder<T> {
    /// Takes item number `sequence`, counted from 0; gives it back if that number was there before.
    pub fn put(&mut self, sequence: u64, item: T) -> Result<(), T> {
        let Some(ahead) = sequence.checked_sub(self.next) else {
            return Err(item);
        };
        let ahead = ahead as usize;
        if self.waiting.len() <= ahead {
            self.waiting.resize_with(ahead + 1, || None);
        }
        if self.waiting[ahead].is_some() {
            return Err(item);
        }
        self.waiting[ahead] = Some(item);
        Ok(())
    }

    /// The next item in order, if it has arrived.
    pub fn take(&mut self) -> Option<T> {
        let item = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer accepted twice would shift every later row by one.
    #[test]
    fn a_number_is_taken_once() {
        let mut order = InOrder::default();
        assert_eq!(order.put(1, 'b'), Ok(()));
        assert_eq!(order.put(1, 'x'), Err('x'));
        assert_eq!(order.take(), None);
        assert_eq!(order.put(0, 'a'), Ok(()));
        assert_eq!(
            (order.take(), order.take(), order.take()),
            (Some('a'), Some('b'), None)
        );
        assert_eq!(order.put(0, 'y'), Err('y'));
    }

    proptest! {
        /// Any order of arrival leaves in input order with nothing lost.
        #[test]
        fn arrivals_leave_in_order(arrivals in Just((0u64..60).collect::<Vec<_>>()).prop_shuffle()) {
            let mut order = InOrder::default();
            let mut left = Vec::new();
            for n in &arrivals {
                prop_assert_eq!(order.put(*n, *n), Ok(()));
                while let Some(item) = order.take() {
                    left.push(item);
                }
            }
            prop_assert_eq!(left, (0u64..60).collect::<Vec<_>>());
        }
    }
}
