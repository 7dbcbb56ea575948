//! The listening side: takes connections, learns who they are, and serves them.

mod accept;
mod incoming;
mod registry;
mod replies;

pub(crate) use accept::serve;
