//! Work that keeps a thread for longer than a request should wait for another's.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Rows that are written in no time.
const FEW_ROWS: usize = 64;

/// Does what takes long where it holds up no other request. A runtime of one thread has no such place.
pub(crate) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|runtime| runtime.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::CurrentThread) | Err(_) => work(),
        Ok(_) => tokio::task::block_in_place(work),
    }
}

/// The same for what takes long only if it is for many rows.
pub(crate) fn rows_aside<T>(rows: usize, work: impl FnOnce() -> T) -> T {
    match rows < FEW_ROWS {
        true => work(),
        false => aside(work),
    }
}
