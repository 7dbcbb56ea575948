//! One lane to one node: a bounded queue, and the task that dials, writes it out and reads the replies.

mod backoff;
mod dialer;
mod outbox;
mod session;

pub(crate) use dialer::Dialer;
pub(crate) use outbox::{BUSY_RETRY_AFTER, Outbox, Outgoing};
