//! How the backend's results for one request become its reply.

use crate::backend::{BackendError, Written};
use crate::resp::reply::{self, Reply};

/// For what was read as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum ValueShape {
    /// `GET`.
    One,
    /// `MGET`: all or an error.
    All,
}

impl ValueShape {
    pub(super) fn reply(self, values: Vec<Result<Option<bytes::Bytes>, BackendError>>) -> Reply {
        let mut found = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Ok(value) => found.push(value.map_or(Reply::Null, Reply::Bulk)),
                Err(error) => return reply::backend_error(&error),
            }
        }
        match self {
            Self::One => found.pop().unwrap_or(Reply::Null),
            Self::All => Reply::Array(found),
        }
    }
}

/// For what was read as lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum LengthShape {
    /// `EXISTS`: how many keys are there.
    Found,
    /// `STRLEN`: the sum, of one key.
    Length,
    /// `TYPE`, of one key.
    Kind,
}

impl LengthShape {
    pub(super) fn reply(self, lengths: Vec<Result<Option<usize>, BackendError>>) -> Reply {
        let (mut found, mut bytes) = (0, 0);
        for length in lengths {
            match length {
                Ok(length) => {
                    found += usize::from(length.is_some());
                    bytes += length.unwrap_or(0);
                }
                Err(error) => return reply::backend_error(&error),
            }
        }
        match self {
            Self::Found => reply::count(found),
            Self::Length => reply::count(bytes),
            Self::Kind => Reply::Simple(if found == 0 { "none" } else { "string" }),
        }
    }
}

/// For what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resp) enum WriteShape {
    /// `SET`, `MSET`: OK.
    Ok,
    /// `SET` with a condition: OK, or null when it did not hold.
    OkIfMet,
    /// `SETNX`: 1, or 0 when the condition did not hold.
    OneIfMet,
    /// `DEL`: how many keys were there.
    Removed,
    /// `INCR` and its like, `APPEND`.
    Number,
    /// `GETSET`, `GETDEL`, `SET` with `GET`: the value before, whether or not there is a new one.
    Previous,
}

impl WriteShape {
    pub(super) fn reply(self, results: Vec<Result<Written, BackendError>>) -> Reply {
        let count = results.len();
        let mut written = Vec::with_capacity(count);
        let mut failed: Option<BackendError> = None;
        for result in results {
            match result {
                Ok(result) => written.push(result),
                Err(error @ BackendError::Indeterminate) => failed = Some(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            None => self.of_written(&mut written),
            // The error alone says that nothing happened: that has to be true of every key.
            Some(error) if written.is_empty() => reply::backend_error(&error),
            Some(error) => {
                let done = written.len();
                reply::error(&format!("INDETERMINATE {done} of {count} keys were done, then: {error}"))
            }
        }
    }

    fn of_written(self, written: &mut [Written]) -> Reply {
        let is_met = !written.iter().any(|written| matches!(written, Written::Unmet { .. }));
        match self {
            Self::Ok => reply::OK,
            Self::OkIfMet => {
                if is_met {
                    reply::OK
                } else {
                    Reply::Null
                }
            }
            Self::OneIfMet => Reply::Integer(i64::from(is_met)),
            Self::Removed => {
                let was_there = |written: &&Written| matches!(written, Written::Done { existed: true, .. });
                reply::count(written.iter().filter(was_there).count())
            }
            Self::Number => match written {
                [Written::Number(number)] => Reply::Integer(*number),
                other => unreachable!("a backend answers a sum or an append by a number: {other:?}"),
            },
            Self::Previous => match written {
                [Written::Done { previous, .. } | Written::Unmet { previous }] => {
                    previous.take().map_or(Reply::Null, Reply::Bulk)
                }
                other => unreachable!("a backend answers a write by how it ended: {other:?}"),
            },
        }
    }
}
