//! Where a forward pass spends its time, by operator.

use std::time::{Duration, Instant};

/// The operators of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Word, position and type vectors, and their layer norm; finding tokens that are alike.
    Embeddings,
    /// Queries, keys and values: one product.
    QueriesKeysValues,
    /// Scores, softmax and the weighted values.
    Attention,
    /// The product behind the attention, with its residual.
    AttentionOutput,
    /// Both layer norms of every layer.
    LayerNorm,
    /// The feed-forward network's first product, with its activation.
    Up,
    /// The feed-forward network's second product, with its residual.
    Down,
    /// Pooling and dense layers, or the classifier.
    Head,
}

impl Operator {
    /// All, in the order in which a layer runs them.
    pub const ALL: [Operator; 8] = [
        Operator::Embeddings,
        Operator::QueriesKeysValues,
        Operator::Attention,
        Operator::AttentionOutput,
        Operator::LayerNorm,
        Operator::Up,
        Operator::Down,
        Operator::Head,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operator::Embeddings => "embeddings",
            Operator::QueriesKeysValues => "queries, keys, values",
            Operator::Attention => "attention",
            Operator::AttentionOutput => "attention output",
            Operator::LayerNorm => "layer norms",
            Operator::Up => "up, activation",
            Operator::Down => "down",
            Operator::Head => "head",
        }
    }
}

/// What one operator has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Time on the clock of the thread that called it.
    pub time: Duration,
    /// Multiplications and additions of its matrix products; 0 where it has none.
    pub operations: u64,
}

/// Time and operations by operator, added up over batches.
///
/// Reading the clock costs some 25 ns, twice an operator and layer: 2 µs a batch of MiniLM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorProfile {
    costs: [Cost; Operator::ALL.len()],
}

impl OperatorProfile {
    /// The cost of one operator.
    #[must_use]
    pub fn cost(&self, operator: Operator) -> Cost {
        self.costs[operator as usize]
    }

    /// The sum over all operators.
    #[must_use]
    pub fn total(&self) -> Cost {
        let mut total = Cost::default();
        for cost in self.costs {
            total.time += cost.time;
            total.operations += cost.operations;
        }
        total
    }

    /// The same operations with the time of so many threads that worked side by side.
    #[must_use]
    pub fn on_threads(mut self, threads: u32) -> OperatorProfile {
        for cost in &mut self.costs {
            cost.time *= threads;
        }
        self
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &OperatorProfile) {
        for (cost, more) in self.costs.iter_mut().zip(other.costs) {
            cost.time += more.time;
            cost.operations += more.operations;
        }
    }

    /// Runs `work` and books its time and its `operations` on `operator`.
    pub(crate) fn measure<T>(
        &mut self,
        operator: Operator,
        operations: usize,
        work: impl FnOnce() -> T,
    ) -> T {
        let start = Instant::now();
        let done = work();
        let cost = &mut self.costs[operator as usize];
        cost.time += start.elapsed();
        cost.operations += operations as u64;
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--profile` would show one operator's time under another's name, or lose it.
    #[test]
    fn costs_are_booked_where_they_arose() {
        let (mut first, mut second) = (OperatorProfile::default(), OperatorProfile::default());
        for (index, operator) in Operator::ALL.into_iter().enumerate() {
            assert_eq!(operator as usize, index);
            let work = || std::thread::sleep(Duration::from_micros(50));
            first.measure(operator, index, work);
            second.measure(operator, 100, || ());
        }
        first.merge(&second);
        for (index, operator) in Operator::ALL.into_iter().enumerate() {
            let cost = first.cost(operator);
            assert_eq!(cost.operations, 100 + index as u64);
            assert!(cost.time >= Duration::from_micros(50), "{operator:?}");
        }
        assert_eq!(first.total().operations, 828);
    }
}
