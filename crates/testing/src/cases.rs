//! Tables of cases which report every failure, and how near two floats must be.

use std::fmt::{Debug, Display};

/// How far a value may be from the one expected: `absolute + relative * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Allowed whatever the size of the expected value.
    pub absolute: f32,
    /// Allowed for each unit of the expected value's size.
    pub relative: f32,
}

impl Tolerance {
    /// For comparison with the golden files' hidden states and answers: 1e-5, absolute. The tiny
    /// models keep their values near 1, where f32 itself is about 2e-6 away from f64.
    pub const GOLDEN: Tolerance = Tolerance {
        absolute: 1e-5,
        relative: 0.0,
    };

    /// Whether `got` is near enough to `want`. NaN is near nothing.
    #[must_use]
    pub fn admits(self, got: f32, want: f32) -> bool {
        got == want || (got - want).abs() <= self.absolute + self.relative * want.abs()
    }
}

/// Runs every case of a table and reports all that failed, with the promise they broke.
///
/// A table that is dropped without [`finish`](CaseTable::finish), or that ran no case, fails: a test
/// which checks nothing must not pass.
#[must_use = "a table reports only when it is finished"]
pub struct CaseTable {
    promise: String,
    ran: usize,
    failures: Vec<String>,
    finished: bool,
}

impl CaseTable {
    /// A table for one promise, in words that say what a user would lose.
    pub fn new(promise: impl Into<String>) -> CaseTable {
        CaseTable {
            promise: promise.into(),
            ran: 0,
            failures: Vec::new(),
            finished: false,
        }
    }

    /// Notes the outcome of one case.
    pub fn check(&mut self, case: impl Display, outcome: Result<(), String>) {
        self.ran += 1;
        if let Err(why) = outcome {
            self.failures.push(format!("{case}: {why}"));
        }
    }

    /// Demands equality.
    pub fn equal<T: PartialEq + Debug + ?Sized>(&mut self, case: impl Display, got: &T, want: &T) {
        let outcome = (got == want).then_some(());
        self.check(
            case,
            outcome.ok_or_else(|| format!("\n   got {got:?}\n  want {want:?}")),
        );
    }

    /// Demands that every element is near the one expected; reports the farthest.
    pub fn close(&mut self, case: impl Display, got: &[f32], want: &[f32], within: Tolerance) {
        if got.len() != want.len() {
            let why = format!("{} values where {} are expected", got.len(), want.len());
            return self.check(case, Err(why));
        }
        let outside = got
            .iter()
            .zip(want)
            .enumerate()
            .filter(|(_, (g, w))| !within.admits(**g, **w));
        let distance = |g: f32, w: f32| {
            let d = (g - w).abs();
            if d.is_nan() { f32::INFINITY } else { d }
        };
        let worst = outside
            .max_by(|(_, (a, b)), (_, (c, d))| distance(**a, **b).total_cmp(&distance(**c, **d)));
        let outcome = worst.map_or(Ok(()), |(at, (g, w))| {
            Err(format!(
                "value {at} of {}: {g} where {w} is expected",
                want.len()
            ))
        });
        self.check(case, outcome);
    }

    /// Ends the table.
    ///
    /// # Panics
    /// If any case failed, with the words of all of them; or if there was no case at all.
    pub fn finish(mut self) {
        self.finished = true;
        assert!(self.ran > 0, "no case was run for: {}", self.promise);
        if !self.failures.is_empty() {
            panic!(
                "broken: {}\n{} of {} cases fail:\n{}",
                self.promise,
                self.failures.len(),
                self.ran,
                self.failures.join("\n")
            );
        }
    }
}

impl Drop for CaseTable {
    fn drop(&mut self) {
        // While a panic unwinds a second one would abort the process and hide the first.
        if !self.finished && !std::thread::panicking() {
            panic!("the table was never finished: {}", self.promise);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn words(f: impl FnOnce()) -> Option<String> {
        let caught = catch_unwind(AssertUnwindSafe(f)).err()?;
        caught.downcast::<String>().ok().map(|s| *s)
    }

    /// Without it a developer would fix failures one run at a time.
    #[test]
    fn a_table_reports_every_failing_case() {
        let said = words(|| {
            let mut table = CaseTable::new("sums");
            table.equal("one", &1, &2);
            table.equal("two", &2, &2);
            table.close("three", &[1.0, 5.0], &[1.0, 3.0], Tolerance::GOLDEN);
            table.finish();
        })
        .unwrap();
        assert!(said.contains("2 of 3") && said.contains("one") && said.contains("value 1 of 2"));
    }

    /// Without it an empty loop, or a NaN, would count as a pass.
    #[test]
    fn nothing_checked_and_nan_both_fail() {
        assert!(words(|| CaseTable::new("empty").finish()).is_some());
        assert!(words(|| drop(CaseTable::new("forgotten"))).is_some());
        assert!(!Tolerance::GOLDEN.admits(f32::NAN, f32::NAN));
        let nan = words(|| {
            let mut table = CaseTable::new("nan");
            table.close("nan", &[f32::NAN], &[0.0], Tolerance::GOLDEN);
            table.finish();
        });
        assert!(nan.is_some());
    }
}
