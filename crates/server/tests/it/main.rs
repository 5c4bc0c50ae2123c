//! The server as its clients meet it: real sockets, tiny models, nothing waited for by the clock.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot set up must end it"
)]

mod client;
mod errors;
mod grpc;
mod own;
mod protocols;
mod running;
mod streams;
mod traces;
