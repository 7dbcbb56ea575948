//! The way back of a group that cannot go on, and how the other replicas hear of it.

mod notice;

pub(crate) use notice::QuarantineNotice;
