//! The crate from outside: golden models, the promise of equal bits, damaged directories, and the
//! real MiniLM.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on must fail, functions it calls too"
)]

mod damaged;
mod golden;
mod invariants;
mod layouts;
mod minilm;
mod quantized;
mod team;
