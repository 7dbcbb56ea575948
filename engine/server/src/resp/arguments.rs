//! Arguments of requests: numbers as Redis reads them, keys and values within their limits.
//!
//! The error of each function is the reply that says what is wrong.

use bytes::Bytes;

use super::reply::{self, Reply};
use super::splitter;
use crate::backend::Write;
use crate::key::{KEY_BYTES_MAX, VALUE_BYTES_MAX, engine_key};

/// A number of 64 bits.
pub(super) fn integer(text: &[u8]) -> Result<i64, Reply> {
    splitter::number(text).ok_or_else(reply::not_an_integer)
}

/// The engine key of a client's key.
pub(super) fn key(name: &[u8]) -> Result<Bytes, Reply> {
    check_limit("key", name.len(), KEY_BYTES_MAX)?;
    Ok(engine_key(name))
}

/// The engine keys of clients' keys.
pub(super) fn keys(names: &[Bytes]) -> Result<Vec<Bytes>, Reply> {
    names.iter().map(|name| key(name)).collect()
}

/// A value.
pub(super) fn value(value: &Bytes) -> Result<Bytes, Reply> {
    check_limit("value", value.len(), VALUE_BYTES_MAX)?;
    Ok(value.clone())
}

/// A write that sets a key.
pub(super) fn put(name: &[u8], new: &Bytes) -> Result<Write, Reply> {
    Ok(Write::Put { value: value(new)?, key: key(name)? })
}

fn check_limit(what: &str, bytes: usize, bytes_max: usize) -> Result<(), Reply> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(reply::error(&format!("ERR {what} has {bytes} bytes, the limit is {bytes_max}")))
}
