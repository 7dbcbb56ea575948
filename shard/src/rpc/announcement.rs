//! What a node tells all others about its leaderships: hints for routing, nothing more.

use quorate_storage::{GroupId, GroupUid, Term};

/// Most groups of one announcement.
pub const LED_MAX: usize = 65_536;

/// Groups that one node leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Whether these are all groups it leads: it leads none of the others any more.
    pub is_complete: bool,
    /// At most [`LED_MAX`].
    pub led: Vec<Led>,
}

/// One leadership. The node is the announcement's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// The group.
    pub group: GroupId,
    /// The group's identity; another uid is another group.
    pub uid: GroupUid,
    /// The term it leads in.
    pub term: Term,
}
