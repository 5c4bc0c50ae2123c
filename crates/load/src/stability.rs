//! When enough has been measured.

use crate::Window;

/// Ends a measurement once windows in succession agree.
///
/// A server warms up, its queue fills, its caches fill: what is measured before that is over describes
/// nobody's use of it. So windows are compared until the last `windows` of them differ by at most
/// `within` in their throughput and in their 99th percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stability {
    /// Windows that must agree.
    pub windows: usize,
    /// By which part the largest may exceed the smallest.
    pub within: f64,
}

impl Default for Stability {
    /// Three windows within 10 %.
    fn default() -> Self {
        Self {
            windows: 3,
            within: 0.10,
        }
    }
}

impl Stability {
    /// Whether the last windows agree.
    #[must_use]
    pub fn is_reached(&self, windows: &[Window]) -> bool {
        let Some(last) = windows.len().checked_sub(self.windows.max(1)) else {
            return false;
        };
        let last = &windows[last..];
        let agree = |figure: fn(&Window) -> f64| {
            let lowest = last.iter().map(figure).fold(f64::INFINITY, f64::min);
            let highest = last.iter().map(figure).fold(0.0, f64::max);
            lowest > 0.0 && highest <= lowest * (1.0 + self.within)
        };
        agree(|window| window.per_second) && agree(|window| window.p99_ms)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn window(per_second: f64, p99_ms: f64) -> Window {
        Window {
            per_second,
            p99_ms,
            ..Window::default()
        }
    }

    /// A ramp, a swing or silence would be reported as what the server does.
    #[test]
    fn only_agreement_ends_the_measurement() {
        let rule = Stability::default();
        for (windows, expected) in [
            (&[(100.0, 5.0), (101.0, 5.1), (104.0, 5.2)][..], true),
            (&[(100.0, 5.0), (101.0, 5.1)], false),
            (
                &[(50.0, 9.0), (100.0, 5.0), (101.0, 5.1), (104.0, 5.2)],
                true,
            ),
            (&[(100.0, 5.0), (101.0, 5.1), (120.0, 5.2)], false),
            (&[(100.0, 5.0), (101.0, 5.1), (104.0, 5.9)], false),
            (&[(100.0, 1.0), (100.0, 2.0), (100.0, 3.0)], false),
            (&[(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], false),
        ] {
            let windows: Vec<Window> = windows.iter().map(|&(r, p)| window(r, p)).collect();
            assert_eq!(rule.is_reached(&windows), expected, "{windows:?}");
        }
    }

    proptest! {
        /// The order within the last windows, and the scale of the figures, must not matter.
        #[test]
        fn agreement_is_about_ratios(
            mut rates in proptest::collection::vec(50.0_f64..60.0, 3),
            scale in 0.01_f64..100.0,
        ) {
            let rule = Stability::default();
            let reached = |rates: &[f64]| {
                let windows: Vec<Window> = rates.iter().map(|&r| window(r, 1.0)).collect();
                rule.is_reached(&windows)
            };
            let lowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = rates.iter().copied().fold(0.0, f64::max);
            let expected = highest <= lowest * 1.1;
            prop_assert_eq!(reached(&rates), expected);
            rates.reverse();
            prop_assert_eq!(reached(&rates), expected);
            if (highest / lowest - 1.1).abs() > 1e-9 {
                rates.iter_mut().for_each(|rate| *rate *= scale);
                prop_assert_eq!(reached(&rates), expected);
            }
        }
    }
}
