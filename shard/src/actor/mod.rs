//! The actor around a group core.
