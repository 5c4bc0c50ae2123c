//! What each route does: parse, ask the engine, render.

pub(crate) mod benchmark;
pub(crate) mod control;
pub(crate) mod grpc;
mod lines;
pub(crate) mod oip;
pub(crate) mod openai;
pub(crate) mod own;
pub(crate) mod page;
pub(crate) mod state;
pub(crate) mod stream;
pub(crate) mod tei;
