//! Identity files: whose directory this is.

pub mod header;

pub use header::{FileHeader, FileKind, FileOwner, HEADER_BYTES, KeyId};
