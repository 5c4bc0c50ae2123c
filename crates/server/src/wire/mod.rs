//! What each protocol writes on the wire: bodies in, bodies out. No module here knows another.

pub(crate) mod grpc;
pub(crate) mod object;
pub(crate) mod oip;
pub(crate) mod openai;
pub(crate) mod own;
pub(crate) mod rows;
pub(crate) mod tei;
pub(crate) mod whole;
