//! Development only: golden files, case tables and tolerances for the other crates' tests.
//!
//! What it is: typed access to the tiny random models under `golden/` together with what PyTorch,
//! transformers and sentence-transformers answer with them; and a table that runs every case and
//! reports all that fail at once, not the first.
//!
//! What it is not: part of any shipped binary. Everything here panics on a missing or broken
//! fixture, because a test can do nothing better with it.
//!
//! The flow of a test:
//!
//! ```
//! use batchwright_testing::{CaseTable, Tolerance, golden};
//!
//! let mut table = CaseTable::new("the answers of every golden model are finite");
//! for model in golden::all() {
//!     for case in &model.cases {
//!         let answer = model.answer(case);
//!         table.close(format!("{} / {}", model.name, case.name), &answer, &answer, Tolerance::GOLDEN);
//!     }
//! }
//! table.finish();
//! ```
//!
//! The files are made by `xtask/golden/make_golden.py`; its head describes their layout.

#![expect(
    clippy::panic,
    reason = "for tests alone: a broken fixture or a failed case must end the test with its words"
)]

mod cases;
pub mod golden;

pub use cases::{CaseTable, Tolerance};
