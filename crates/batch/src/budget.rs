//! How much may run together.

/// The bounds of one batch.
///
/// A text that is longer than `tokens` on its own still runs, alone in its batch: the budget decides
/// what is put together, never what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Most tokens in a batch (unless one text alone has more); at least 1.
    pub tokens: usize,
    /// Most rows in a batch; at least 1.
    pub rows: usize,
    /// Workers that run the batches. With more than one the last batches shrink, so that none is left
    /// with a whole batch when the others are done.
    pub workers: usize,
}

/// Batches do not shrink below this at a window's end: they would cost more than waiting does.
const LEAST_TOKENS: usize = 96;

impl Budget {
    /// A budget of tokens with no bound on rows.
    pub fn tokens(tokens: usize) -> Self {
        Self {
            tokens: tokens.max(1),
            rows: usize::MAX,
            workers: 1,
        }
    }

    /// The same budget for batches that so many workers run.
    pub fn workers(self, workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            ..self
        }
    }

    /// The budget of the next batch where `rest` tokens are left: a fair share of them.
    pub(crate) fn at_end(self, rest: usize) -> Self {
        if self.workers == 1 {
            return self;
        }
        let fair = rest.div_ceil(self.workers).max(LEAST_TOKENS);
        Self {
            tokens: self.tokens.min(fair),
            ..self
        }
    }

    /// The same budget with at most `rows` rows a batch.
    pub fn rows(self, rows: usize) -> Self {
        Self {
            rows: rows.max(1),
            ..self
        }
    }

    /// Whether a batch of `rows` rows and `tokens` tokens may take one more row of `length` tokens.
    pub(crate) fn admits(&self, rows: usize, tokens: usize, length: usize) -> bool {
        rows == 0 || (rows < self.rows && tokens + length <= self.tokens)
    }
}

/// How a window is shared over the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Everything fits one batch: all workers split its products together, which is how a single
    /// short query gets the whole machine.
    Team,
    /// Batches enough for every worker: each runs its own, with no barrier between them.
    Batches(Budget),
}

impl Share {
    /// Decides how `total_tokens` tokens in `rows` rows run on `workers` workers.
    ///
    /// Above one batch the budget is lowered, if need be, until every worker has a batch: a window of
    /// 300 tokens at a budget of 200 would otherwise leave one of two workers with a third of the work.
    pub fn of(total_tokens: usize, rows: usize, workers: usize, budget: Budget) -> Self {
        if rows == 1 || (total_tokens <= budget.tokens && rows <= budget.rows) {
            return Share::Team;
        }
        let fair = total_tokens.div_ceil(workers.max(1)).max(1);
        let tokens = budget.tokens.min(fair);
        Share::Batches(Budget { tokens, ..budget }.workers(workers))
    }
}

/// What a model's weights are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Floats, or integers of 16 bits.
    Wide,
    /// Integers of 8 bits.
    Narrow,
}

/// The token budget that suits a model's widths and a core's level-2 cache.
///
/// `hidden` and `intermediate` are the encoder's widths, `l2_bytes` one core's level-2 cache. The
/// widest stage of a layer reads `hidden` and writes `intermediate` floats a token; the micro-batch
/// is chosen so that those fill a few of these caches. Measured with MiniLM (384, 1,536) and 512 KiB on Zen 3,
/// alternated. Wide weights: six (384 tokens) are best; 204 tokens ran at 0.98 of that rate, 288 at 0.995; in
/// another run 48 at 0.85 and 4,096 at 0.83. Narrow ones are passed through sooner, and what comes in and goes out
/// weighs more: three (192 tokens) are best, 384 run at 0.98 of that, 96 at 0.99. The result is a multiple of 96, the
/// rows that the products take at a time, between 96 and 768.
pub fn default_tokens(
    hidden: usize,
    intermediate: usize,
    l2_bytes: usize,
    weights: Weights,
) -> usize {
    let caches = match weights {
        Weights::Wide => 6,
        Weights::Narrow => 3,
    };
    let bytes_per_token = 4 * (hidden + intermediate).max(1);
    let tokens = caches * l2_bytes / bytes_per_token;
    (tokens / 96 * 96).clamp(96, 768)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user with one short query would wait for one core while the others idle.
    #[test]
    fn one_row_or_one_batch_gets_the_whole_team() {
        let budget = Budget::tokens(200);
        for (total, rows, expected) in [
            (10, 1, Share::Team),
            (512, 1, Share::Team),
            (200, 20, Share::Team),
            (0, 0, Share::Team),
            (300, 30, Share::Batches(Budget::tokens(150).workers(2))),
            (4_000, 400, Share::Batches(Budget::tokens(200).workers(2))),
        ] {
            assert_eq!(
                Share::of(total, rows, 2, budget),
                expected,
                "{total} tokens in {rows} rows"
            );
        }
        assert_eq!(
            Share::of(100, 10, 2, budget.rows(4)),
            Share::Batches(Budget::tokens(50).rows(4).workers(2)),
            "a bound on rows must hold even where all tokens fit one batch"
        );
    }

    /// A budget outside the measured range would cost up to a fifth of the throughput.
    #[test]
    fn default_budget_is_in_the_measured_range() {
        assert_eq!(default_tokens(384, 1536, 512 << 10, Weights::Wide), 384);
        assert_eq!(default_tokens(384, 1536, 512 << 10, Weights::Narrow), 192);
        for (hidden, intermediate, l2) in [(0, 0, 0), (1, 1, 1 << 30), (4096, 16384, 1 << 10)] {
            let tokens = default_tokens(hidden, intermediate, l2, Weights::Wide);
            assert!(
                (96..=768).contains(&tokens),
                "{hidden} {intermediate} {l2}: {tokens}"
            );
        }
    }
}
