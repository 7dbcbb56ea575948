//! The promises of a log.
