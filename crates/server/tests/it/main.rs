//! The server as its clients meet it: real sockets, tiny models, nothing waited for by the clock.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot set up must end it"
)]

mod client;
mod compressed;
mod errors;
#[cfg(unix)]
mod gpus;
mod grpc;
mod leaving;
mod measuring;
mod own;
mod protocols;
mod refusals;
mod running;
mod streams;
mod traces;
