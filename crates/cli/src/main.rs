//! The `batchwright` command line.

fn main() {}
