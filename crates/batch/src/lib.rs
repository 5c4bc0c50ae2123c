//! The batching core: pure decisions about which rows run together.
