//! The Open Inference Protocol over gRPC, as a client of its own messages sees it.

mod client;
mod limits;
mod models;
mod problems;
mod tensors;
