//! `--profile`: where the time of the threads went.

use batchwright::{Model, Operator, OperatorProfile, Progress};

use crate::figures::{percent, three_digits};
use crate::table::{Align, Table};

/// What a run's threads did.
#[derive(Debug)]
pub(super) struct Stages {
    operators: OperatorProfile,
    prepare_seconds: f64,
    /// One core's measured limit in f32, in GFLOP/s.
    peak: f64,
}

impl Stages {
    /// Takes what the model has counted; measures the machine's limit, which takes 70 ms.
    pub(super) fn of(model: &Model, progress: &Progress) -> Stages {
        Stages {
            operators: model.take_operator_profile(),
            prepare_seconds: progress.prepare_seconds,
            peak: kernels::peak_gflops(model.isa(), 1),
        }
    }

    /// A table by stage and operator.
    pub(super) fn words(&self) -> String {
        let mut table = Table::new(&[
            ("stage", Align::Left),
            ("seconds", Align::Right),
            ("share", Align::Right),
            ("Gop/s", Align::Right),
            ("of f32 peak", Align::Right),
        ]);
        let network = self.operators.total();
        let all = self.prepare_seconds + network.time.as_secs_f64();
        let mut line = |name: &str, seconds: f64, operations: u64| {
            let rate = operations as f64 / 1e9 / seconds;
            let [rate, of_peak] = if operations > 0 && rate.is_finite() {
                [three_digits(rate), percent(rate / self.peak)]
            } else {
                [String::new(), String::new()]
            };
            let share = if all > 0.0 { seconds / all } else { 0.0 };
            table.row([
                name.to_owned(),
                three_digits(seconds),
                percent(share),
                rate,
                of_peak,
            ]);
        };
        line("tokenising, batching", self.prepare_seconds, 0);
        line("network", network.time.as_secs_f64(), network.operations);
        for operator in Operator::ALL {
            let cost = self.operators.cost(operator);
            let name = format!("  {}", operator.name());
            line(&name, cost.time.as_secs_f64(), cost.operations);
        }
        format!(
            "seconds of one thread; one core's f32 peak is {} GFLOP/s\n{}",
            three_digits(self.peak),
            table.render().trim_end()
        )
    }
}
