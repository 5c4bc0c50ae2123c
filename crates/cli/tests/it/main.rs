//! The command line as its users meet it: each test a fresh directory and a real process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot set up must end it"
)]

mod bad_input;
mod continuing;
mod equal_bytes;
mod formats;
mod interrupting;
mod load_testing;
mod other_commands;
mod precision;
mod quantizing;
mod rows;
mod serving;
mod settings;
mod tasks;
mod workplace;
